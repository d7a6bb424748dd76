import './tasks.css'
import { Route, Routes } from 'react-router'
import { TaskList } from './TaskList'
import { TaskPage } from './TaskPage'

export default function Tasks() {
  return (
    <Routes>
      <Route index element={<TaskList />} />
      <Route path=":id" element={<TaskPage />} />
    </Routes>
  )
}
