// PURE. docs/events.md, made from the catalogue so that it cannot lag behind it.
import { CATALOGUE, EVENT_NAMES } from './catalogue.ts'
import type { EventDefinition } from './definition.ts'
import type { EventName } from './events.ts'

const INTRODUCTION = `# Events

Everything that Portcullis notices is one of these events. One definition in \`src/journal/catalogue/\` gives each its log line, its
sentence, its metric and its stored row. Names and codes are stable; fields are listed in \`src/journal/events.ts\`.

- **Log**: one JSON line per event with \`level\`, \`time\`, \`event\`, \`code\`, the fields and \`msg\`, the sentence for a person.
  Files in \`journal.logDir\`: \`GW001.json\` (these lines) and \`GW001.log\` (the same events as \`29-Jan-14, 16:11:20, <text>\`, times
  in UTC). Number 001 is being written; at \`logMaxBytes\` it becomes 002, and so on, at most \`logFiles\` of each kind.
- **Requests**: \`journal.requests\` says which requests get a line. \`all\`: each. \`refused\`: refused ones and those cut off by a limit.
  \`none\`: no line per request. Metrics and the ledger always count each of them.
- **Floods**: of the events marked _limited_, at most 300 at once and then 10 a second are recorded per address, and 3,000 at once
  and then 500 a second per event. The rest is counted in metrics and ledger, and \`journal.dropped\` says how many it were.
- **Secrets**: passwords, tokens, keys, cookies and Authorization values are replaced by \`[redacted]\`, control and invisible characters by
  \`\\u{..}\`, before anything is written.
- Every event adds one to \`portcullis_events_total{event}\`.

Codes E1 to E18 are those of the classic gateway log.
`

/** The whole document. */
export function eventsDocument(): string {
  return `${INTRODUCTION}\n${EVENT_NAMES.map(section).join('\n')}`
}

function section(name: EventName): string {
  const definition = CATALOGUE[name] as EventDefinition<EventName>
  const { code, covers, severity, when, counter, stored, fromClients } = definition
  const others = (covers ?? []).filter(other => other !== code)
  const codes = others.length === 0 ? code : `${code} (covers ${others.join(', ')} too)`
  const labels = counter === null || counter.labels.length === 0 ? '' : `{${counter.labels.join(', ')}}`
  const facts = [
    `Code ${codes}`,
    `severity ${typeof severity === 'string' ? severity : 'by its fields'}`,
    stored ? 'stored' : 'not stored',
    ...(fromClients ? ['limited'] : []),
    ...(counter === null ? [] : [`metric \`${counter.name}${labels}\``]),
  ]
  return `## ${name}\n\n${when}\n\n${facts.join(' · ')}\n`
}
