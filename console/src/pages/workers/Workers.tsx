import './workers.css'
import { Route, Routes } from 'react-router'
import { KindPage } from './KindPage'
import { WeePage } from './WeePage'
import { WorkerList } from './WorkerList'

export default function Workers() {
  return (
    <Routes>
      <Route index element={<WorkerList />} />
      <Route path="wees/:name" element={<WeePage />} />
      <Route path=":kind" element={<KindPage />} />
    </Routes>
  )
}
