import './style/tokens.css'
import './style/base.css'
import './style/parts.css'
import './style/dialog.css'
import './style/audit.css'
import './style/shell.css'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { App } from './app/App'
import { applySettings } from './app/settings'

applySettings()
const root = document.getElementById('root')
if (root) {
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  )
}
