import '../tasks/tasks.css'
import './runs.css'
import { Route, Routes } from 'react-router'
import { NewRun } from './NewRun'
import { RunList } from './RunList'
import { RunPage } from './RunPage'

export default function Runs() {
  return (
    <Routes>
      <Route index element={<RunList />} />
      <Route path="new" element={<NewRun />} />
      <Route path=":name" element={<RunPage />} />
    </Routes>
  )
}
