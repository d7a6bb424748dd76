import './events.css'
import { Route, Routes } from 'react-router'
import { Changes } from './Changes'
import { Stream } from './Stream'

export default function Events() {
  return (
    <Routes>
      <Route index element={<Stream />} />
      <Route path="changes" element={<Changes />} />
    </Routes>
  )
}
