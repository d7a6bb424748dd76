import './events.css'
import { Route, Routes } from 'react-router'
import { Audit } from './Audit'
import { Stream } from './Stream'

export default function Events() {
  return (
    <Routes>
      <Route index element={<Stream />} />
      <Route path="audit" element={<Audit />} />
    </Routes>
  )
}
