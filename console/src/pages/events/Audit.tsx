import { useMessages } from '../../app/messages'
import { ACTS, type AuditFilter, auditCommand } from '../../parts/audit'
import { actWords, messages as auditMessages } from '../../parts/audit-messages'
import { AuditTable } from '../../parts/AuditTable'
import { CommandHint } from '../../parts/CommandHint'
import { FilterChoice, FilterText, Filters, useFilters } from '../../parts/Filter'
import { Empty, LookOn } from '../../parts/Standing'
import { auditCall, useAudit } from '../../parts/useAudit'
import { visibleText } from '../../parts/visible'
import { Head } from './Head'
import { messages } from './messages'
import { useKinds } from './useKinds'

const LOOK = { pages: 10, rows: 100 }
/** What acts are done to beside records. */
const KINDS_BESIDE = ['Task', 'Store']
/** Roles: who has no name is found by one. */
const ROLES = ['operator', 'sengu']

/** Who did what, newest first. What is looked for is in the address. */
export function Audit() {
  const t = useMessages(messages)
  const a = useMessages(auditMessages)
  const words = useMessages(actWords)
  const { values, set, clear, any } = useFilters(['kind', 'name', 'what', 'who'])
  const kinds = useKinds()
  const { kind, name, what, who } = values
  const filter: AuditFilter = { kind, name, what, by: who }
  const pages = useAudit(filter, LOOK)
  return (
    <section className="page fills">
      <Head>
        <span className="end">
          <CommandHint command={auditCommand(filter)} call={{ path: auditCall(filter, LOOK.rows) }} />
        </span>
      </Head>
      <Filters any={any} clear={clear}>
        <FilterChoice label={a.kind} value={kind} onChange={(to) => set('kind', to)} choices={withOwn(kind, [...new Set([...kinds.records, ...KINDS_BESIDE])].map((each) => [each, each]))} />
        <FilterText label={a.name} value={name} onChange={(to) => set('name', to)} placeholder={t.nameWhole} />
        <FilterChoice label={a.what} value={what} onChange={(to) => set('what', to)} choices={withOwn(what, ACTS.map((each) => [each, words[each]]))} />
        <FilterText label={a.who} value={who} onChange={(to) => set('who', to)} choices={ROLES} placeholder={t.roleOrName} />
      </Filters>
      <LookOn pages={pages} said={a.lookedFar} word={a.lookOn} />
      <AuditTable pages={pages} empty={<Empty title={pages.stalled ? a.noneSoFar : any ? t.noAct : t.noActYet} />} />
      <p className="dim small-print">{t.auditMeans}</p>
    </section>
  )
}

/** With what the address asks for, though this console does not know it: servers may. */
function withOwn(value: string, choices: [string, string][]): [string, string][] {
  return value === '' || choices.some(([each]) => each === value) ? choices : [...choices, [value, visibleText(value.slice(0, 40))]]
}
