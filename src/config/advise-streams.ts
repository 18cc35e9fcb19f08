// Warnings about raw TCP that is valid but would lose clients or open more than meant.
import type { TrafficClass } from '../policy/classes.ts'
import type { ClassPolicy } from '../policy/snapshot.ts'
import type { StreamListener } from '../policy/streams.ts'
import type { Reporter } from './context.ts'

/** Ports of databases and of FTP: what must not be met on the internet. */
const DATABASES: ReadonlyMap<number, string> = new Map([
  [1433, 'SQL Server'],
  [1521, 'Oracle'],
  [3306, 'MySQL'],
  [5432, 'PostgreSQL'],
  [27017, 'MongoDB'],
])
const FTP: ReadonlySet<number> = new Set([21, 5021])
const LOWEST_OWN_PORT = 5_000

/** Looks the streams over. */
export function adviseStreams(
  streams: readonly StreamListener[],
  classes: ReadonlyMap<TrafficClass, ClassPolicy>,
  report: Reporter,
): void {
  for (const stream of streams) {
    for (const trafficClass of new Set(stream.services.map(service => service.class)))
      adviseClass(stream.id, trafficClass, classes.get(trafficClass), report)
    advisePorts(stream, report)
  }
}

function adviseClass(
  id: string,
  trafficClass: TrafficClass,
  policy: ClassPolicy | undefined,
  report: Reporter,
): void {
  if (policy === undefined) return
  const path = ['streams', id]
  if (policy.access.value === 'closed') {
    report.warn(
      path,
      `class ${trafficClass} is closed: its streams are refused`,
      'name another class, or open it',
    )
  }
  if (policy.keys.length > 0) {
    report.warn(
      path,
      `class ${trafficClass} asks for a key, and raw TCP has no place for one: untrusted clients are lost`,
    )
  }
}

function advisePorts(
  { id, kind, product, endpoints, services, internalPorts }: StreamListener,
  report: Reporter,
): void {
  const path = ['streams', id, 'address']
  const servers = services.flatMap(({ action }) =>
    action.kind === 'forward'
      ? action.members.flatMap(({ target }) =>
          target.kind === 'tcp' && target.port !== null ? [target.port] : [],
        )
      : [],
  )
  for (const port of new Set([...endpoints.map(endpoint => endpoint.port), ...servers])) {
    if (internalPorts.has(port)) continue
    const database = DATABASES.get(port)
    if (database !== undefined)
      report.warn(path, `port ${port} is that of ${database}: databases are not for the internet`)
    if (FTP.has(port))
      report.warn(
        path,
        `port ${port} is that of FTP, which opens further connections that no gate can follow`,
      )
  }
  const low = endpoints.find(({ port }) => port > 0 && port < LOWEST_OWN_PORT)
  if (kind === 'tcp' && product === null && low !== undefined) {
    report.warn(
      path,
      `port ${low.port} is among those that other programs and providers use or block`,
      'choose one above 5000, the same everywhere',
    )
  }
}
