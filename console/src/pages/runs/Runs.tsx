import { useMessages } from '../../app/messages'
import { useTitle } from '../../app/title'
import { Empty } from '../../parts/Standing'
import { messages } from './messages'

export default function Runs() {
  const t = useMessages(messages)
  useTitle(t.title)
  return (
    <section className="page">
      <h1>{t.title}</h1>
      <Empty />
    </section>
  )
}
