import './targets.css'
import { Route, Routes } from 'react-router'
import Target from './one/Target'
import { TargetList } from './TargetList'

export default function Targets() {
  return (
    <Routes>
      <Route index element={<TargetList />} />
      <Route path=":name" element={<Target />} />
    </Routes>
  )
}
