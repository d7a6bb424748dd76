import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useMessages } from '../../app/messages'
import { request } from '../../api/client'
import { asProblem } from '../../api/problem'
import { type Column, DataTable, wholeList } from '../../parts/DataTable'
import { count } from '../../parts/format'
import { SafeText } from '../../parts/SafeText'
import { Empty, Loading, Problem } from '../../parts/Standing'
import { found } from './limits'
import { messages } from './messages'

type Licence = { name: string; version: string; licence: string }

/** What this program is made of. The list is a file beside the console, asked for when it is opened. */
export function Licences() {
  const t = useMessages(messages)
  const [words, setWords] = useState('')
  const list = useQuery({
    queryKey: ['licences'],
    queryFn: ({ signal }) => request<Licence[]>('GET', `${import.meta.env.BASE_URL}licences.json`, undefined, signal),
    staleTime: Infinity,
    retry: false,
  })
  if (!list.data) {
    const problem = list.error ? asProblem(list.error) : undefined
    if (problem?.status === 404) return <Empty title={t.licencesMissing} />
    return problem ? <Problem problem={problem} again={() => void list.refetch()} /> : <Loading />
  }
  const shown = found(list.data, words, (each) => `${each.name} ${each.licence}`)
  const columns: Column<Licence>[] = [
    { key: 'name', header: t.name, width: 'minmax(150px, 1fr)', cell: (row) => <SafeText text={row.name} max={80} mono still /> },
    { key: 'version', header: t.version, width: '110px', cell: (row) => <SafeText text={row.version} max={40} mono still /> },
    { key: 'licence', header: t.licence, width: 'minmax(120px, 1.4fr)', cell: (row) => <SafeText text={row.licence} max={160} still /> },
  ]
  return (
    <>
      <p className="dim">{t.licencesMeans}</p>
      <div className="section-bar">
        <label className="filter">
          <span>{t.find}</span>
          <input value={words} maxLength={80} onChange={(event) => setWords(event.target.value)} />
        </label>
        <span className="dim" role="status">
          {t.ofAll(count(shown.length), count(list.data.length))}
        </span>
      </div>
      <DataTable
        label={t.licences}
        columns={columns}
        pages={wholeList(shown)}
        rowKey={(row) => `${row.name} ${row.version}`}
        empty={<Empty title={t.noneMatch} />}
        height="360px"
      />
    </>
  )
}
