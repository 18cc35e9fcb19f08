// Prometheus metrics: counters from the event catalogue, histograms of the traffic, gauges that the composition root feeds.
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from '@prometheus-io/client'
import { CATALOGUE, EVENT_NAMES } from './catalogue.ts'
import type { EventDefinition } from './definition.ts'
import type { EventFields, EventName } from './events.ts'
import { CELL_LIMITS, createCells, type CellLimits, type Cells } from './metric-cells.ts'

/** A gauge with labels: read when the metrics are. */
export type LabelledReading = { readonly labels: Readonly<Record<string, string>>; readonly value: number }

/** What the composition root knows and metrics show. A missing one is not shown. */
export type GaugeSources = {
  /** Open downstream connections by listener. */
  readonly connectionsOpen?: () => ReadonlyMap<string, number>
  readonly webSocketsOpen?: () => number
  /** Open raw TCP streams by listener. */
  readonly streamsOpen?: () => ReadonlyMap<string, number>
  /** Heartbeat flows by listener. */
  readonly heartbeatFlows?: () => ReadonlyMap<string, number>
  /** Members of upstream groups and whether they are up. */
  readonly upstreams?: () => readonly {
    readonly group: string
    readonly member: string
    readonly up: boolean
    readonly openRequests: number
  }[]
  readonly certificates?: () => readonly { readonly name: string; readonly validToMs: number }[]
  /** Trials, told apart by the `file:line:column` that states them; those that are over are left out. */
  readonly trials?: () => readonly { readonly line: string; readonly expiresMs: number }[]
  readonly geoDatabases?: () => readonly { readonly role: 'first' | 'second'; readonly builtMs: number }[]
  readonly policyLoadedMs?: () => number
  /** Bans and allows set while the gate runs. */
  readonly overlay?: () => { readonly bans: number; readonly allows: number }
  readonly store?: () => {
    readonly usable: boolean
    readonly usedBytes: number
    readonly queuedRows: number
    readonly droppedRows: number
    readonly lastBatchMs: number
  }
  readonly ledger?: () => {
    readonly sources: number
    readonly cells: number
    readonly overflowed: number
    readonly lost: number
  }
}

/** What metrics need. */
export type MetricsOptions = {
  readonly clock: () => number
  readonly gauges?: GaugeSources
  /** Metrics of the process and of the event loop; on unless told. */
  readonly processMetrics?: boolean
  readonly limits?: CellLimits
}

/** The metrics of one gate. */
export type Metrics = {
  /** Counts an event. */
  readonly count: <K extends EventName>(name: K, fields: EventFields[K]) => void
  /** Counts something that went wrong in the journal itself. */
  readonly countJournalError: () => void
  /** Adds gauges that were not known at the start. */
  readonly addGauges: (sources: GaugeSources) => void
  /** The text format of Prometheus. */
  readonly render: () => Promise<string>
  readonly contentType: string
}

type Counting = { readonly cells: Cells; readonly values: (fields: never) => readonly string[] }

const DURATION_BUCKETS = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600]

/** Makes a registry of its own: nothing global, so that several gates (tests) do not meet. */
export function createMetrics(options: MetricsOptions): Metrics {
  const { clock } = options
  const limits = options.limits ?? CELL_LIMITS
  const registry = new Registry()
  const registers = [registry]
  if (options.processMetrics ?? true) collectDefaultMetrics({ register: registry })

  const counter = (name: string, help: string, labels: readonly string[]): Cells => {
    const cells = createCells(labels.length, limits)
    const metric: Counter<string> = new Counter({
      name,
      help,
      labelNames: [...labels],
      registers: [],
      collect() {
        this.reset()
        for (const [values, cell] of cells.entries()) {
          this.inc(Object.fromEntries(labels.map((label, index) => [label, values[index] ?? ''])), cell.value)
        }
      },
    })
    registry.registerMetric(metric)
    return cells
  }

  const events = counter('portcullis_events_total', 'Events by name', ['event'])
  const errors = counter('portcullis_journal_errors_total', 'Defects met while reporting events', [])
  const bytes = counter(
    'portcullis_bytes_total',
    'Bytes of requests that have ended, heartbeats and raw TCP streams',
    ['class', 'direction'],
  )
  const datagrams = counter('portcullis_heartbeats_total', 'Heartbeats (in) and replies (out) over UDP', [
    'listener',
    'direction',
  ])
  const byName = new Map<string, Cells>()
  const counting = new Map<EventName, { readonly event: { value: number }; readonly own: Counting | null }>()
  for (const name of EVENT_NAMES) {
    const { counter: wanted } = CATALOGUE[name] as EventDefinition<EventName>
    const event = events.at([name])
    if (wanted === null) {
      counting.set(name, { event, own: null })
      continue
    }
    let cells = byName.get(wanted.name)
    if (cells === undefined)
      byName.set(wanted.name, (cells = counter(wanted.name, wanted.help, wanted.labels)))
    counting.set(name, { event, own: { cells, values: wanted.values } })
  }

  const durations = new Histogram({
    name: 'portcullis_request_duration_seconds',
    help: 'Time from the head of a request to the end of its response, WebSockets not included',
    labelNames: ['class'],
    buckets: DURATION_BUCKETS,
    registers,
  })
  const upstreamTimes = new Histogram({
    name: 'portcullis_upstream_response_seconds',
    help: 'Time until the head of the response of the upstream',
    labelNames: ['class'],
    buckets: DURATION_BUCKETS,
    registers,
  })

  const measure = (f: EventFields['request.closed']): void => {
    bytes.at([f.class, 'in']).value += f.bytesIn
    bytes.at([f.class, 'out']).value += f.bytesOut
    if (f.webSocket) return
    durations.observe({ class: f.class }, f.durationMs / 1_000)
    if (f.upstreamMs > 0) upstreamTimes.observe({ class: f.class }, f.upstreamMs / 1_000)
  }

  const measureHeartbeats = (f: EventFields['heartbeat.counted']): void => {
    datagrams.at([f.listener, 'in']).value += f.heartbeats
    datagrams.at([f.listener, 'out']).value += f.replies
    bytes.at([f.class ?? 'heartbeat', 'in']).value += f.bytesIn
    bytes.at([f.class ?? 'heartbeat', 'out']).value += f.bytesOut
  }

  const measureStream = (trafficClass: string | null, bytesIn: number, bytesOut: number): void => {
    bytes.at([trafficClass ?? 'none', 'in']).value += bytesIn
    bytes.at([trafficClass ?? 'none', 'out']).value += bytesOut
  }

  const gauge = (
    name: string,
    help: string,
    labels: readonly string[],
    read: () => readonly LabelledReading[],
  ): void => {
    const metric: Gauge<string> = new Gauge({
      name,
      help,
      labelNames: [...labels],
      registers: [],
      collect() {
        this.reset()
        for (const reading of read().slice(0, limits.valuesPerLabel)) this.set(reading.labels, reading.value)
      },
    })
    registry.registerMetric(metric)
  }
  const single = (name: string, help: string, read: () => number): void =>
    gauge(name, help, [], () => [{ labels: {}, value: read() }])

  const addGauges = (sources: GaugeSources): void => {
    for (const add of GAUGES) add(sources, { gauge, single, clock })
  }
  addGauges(options.gauges ?? {})

  return {
    count: (name, fields) => {
      const known = counting.get(name)
      if (known === undefined) return
      known.event.value++
      if (known.own !== null) known.own.cells.at(known.own.values(fields as never)).value++
      if (name === 'request.closed') measure(fields as EventFields['request.closed'])
      else if (name === 'stream.counted') {
        const f = fields as EventFields['stream.counted']
        measureStream(f.class, f.bytesIn, f.bytesOut)
      } else if (name === 'stream.closed') {
        const f = fields as EventFields['stream.closed']
        measureStream(f.class, f.freshIn, f.freshOut)
      } else if (name === 'heartbeat.counted') measureHeartbeats(fields as EventFields['heartbeat.counted'])
    },
    countJournalError: () => {
      errors.at([]).value++
    },
    addGauges,
    render: () => registry.metrics(),
    contentType: Registry.PROMETHEUS_CONTENT_TYPE,
  }
}

type GaugeTools = {
  readonly gauge: (
    name: string,
    help: string,
    labels: readonly string[],
    read: () => readonly LabelledReading[],
  ) => void
  readonly single: (name: string, help: string, read: () => number) => void
  readonly clock: () => number
}

const GAUGES: readonly ((sources: GaugeSources, tools: GaugeTools) => void)[] = [
  ({ connectionsOpen }, { gauge }) => {
    if (connectionsOpen === undefined) return
    gauge('portcullis_connections_open', 'Open downstream connections', ['listener'], () =>
      [...connectionsOpen()].map(([listener, value]) => ({ labels: { listener }, value })),
    )
  },
  ({ webSocketsOpen }, { single }) => {
    if (webSocketsOpen !== undefined) single('portcullis_websockets_open', 'Open WebSockets', webSocketsOpen)
  },
  ({ streamsOpen }, { gauge }) => {
    if (streamsOpen === undefined) return
    gauge('portcullis_streams_open', 'Raw TCP streams open now', ['listener'], () =>
      [...streamsOpen()].map(([listener, value]) => ({ labels: { listener }, value })),
    )
  },
  ({ heartbeatFlows }, { gauge }) => {
    if (heartbeatFlows === undefined) return
    gauge('portcullis_heartbeat_flows', 'Heartbeat flows open now', ['listener'], () =>
      [...heartbeatFlows()].map(([listener, value]) => ({ labels: { listener }, value })),
    )
  },
  ({ upstreams }, { gauge }) => {
    if (upstreams === undefined) return
    gauge('portcullis_upstream_up', '1: the server is up', ['group', 'member'], () =>
      upstreams().map(({ group, member, up }) => ({ labels: { group, member }, value: up ? 1 : 0 })),
    )
    gauge('portcullis_upstream_requests_open', 'Requests at the server now', ['group', 'member'], () =>
      upstreams().map(({ group, member, openRequests }) => ({
        labels: { group, member },
        value: openRequests,
      })),
    )
  },
  ({ certificates }, { gauge, clock }) => {
    if (certificates === undefined) return
    gauge('portcullis_certificate_days_left', 'Days until a certificate ends', ['name'], () =>
      certificates().map(({ name, validToMs }) => ({
        labels: { name },
        value: (validToMs - clock()) / 86_400_000,
      })),
    )
  },
  ({ trials }, { gauge, clock }) => {
    if (trials === undefined) return
    gauge('portcullis_trial_days_left', 'Days until a trial ends and its stages enforce', ['line'], () =>
      trials().flatMap(({ line, expiresMs }) => {
        const leftMs = expiresMs - clock()
        return leftMs > 0 ? [{ labels: { line }, value: leftMs / 86_400_000 }] : []
      }),
    )
  },
  ({ geoDatabases }, { gauge, clock }) => {
    if (geoDatabases === undefined) return
    gauge('portcullis_geo_database_age_seconds', 'Age of a country database', ['role'], () =>
      geoDatabases().map(({ role, builtMs }) => ({ labels: { role }, value: (clock() - builtMs) / 1_000 })),
    )
  },
  ({ policyLoadedMs }, { single }) => {
    if (policyLoadedMs === undefined) return
    single('portcullis_policy_loaded_timestamp_seconds', 'When the policy in force was loaded', () =>
      Math.round(policyLoadedMs() / 1_000),
    )
  },
  ({ overlay }, { gauge }) => {
    if (overlay === undefined) return
    gauge('portcullis_overlay_entries', 'Bans and allows set while the gate runs', ['kind'], () => {
      const { bans, allows } = overlay()
      return [
        { labels: { kind: 'ban' }, value: bans },
        { labels: { kind: 'allow' }, value: allows },
      ]
    })
  },
  ({ store }, { single }) => {
    if (store === undefined) return
    single('portcullis_store_usable', '1: the journal can be written', () => (store().usable ? 1 : 0))
    single('portcullis_store_bytes', 'Bytes that the journal uses, ledger included', () => store().usedBytes)
    single('portcullis_store_queued_rows', 'Rows that wait to be written', () => store().queuedRows)
    single('portcullis_store_dropped_rows', 'Rows lost since the start', () => store().droppedRows)
    single('portcullis_store_batch_seconds', 'Time of the last batch', () => store().lastBatchMs / 1_000)
  },
  ({ ledger }, { single }) => {
    if (ledger === undefined) return
    single('portcullis_ledger_sources', 'Sources seen in this hour', () => ledger().sources)
    single('portcullis_ledger_cells', 'Cells of this hour', () => ledger().cells)
    single(
      'portcullis_ledger_overflowed',
      'Traffic counted under the overflow row',
      () => ledger().overflowed,
    )
    single('portcullis_ledger_lost', 'Traffic that the ledger had no place for', () => ledger().lost)
  },
]
