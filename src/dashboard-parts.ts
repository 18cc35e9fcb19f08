// The dashboard, put together: who may log in, what the pages show and call, its certificate, and its address.
import { readdir, readFile } from 'node:fs/promises'
import type { Access } from './access/access.ts'
import { loadAssets } from './admin/dashboard/assets.ts'
import { createDashboardHandler } from './admin/dashboard/handler.ts'
import type { PageRoute } from './admin/dashboard/page.ts'
import { auditRoute } from './admin/dashboard/pages/audit.ts'
import { certificateRoute } from './admin/dashboard/pages/certificates.ts'
import { clientRoutes } from './admin/dashboard/pages/clients.ts'
import { connectionRoute } from './admin/dashboard/pages/connections.ts'
import { eventRoutes } from './admin/dashboard/pages/events.ts'
import { standingRoutes, type PolicyEntry } from './admin/dashboard/pages/standing.ts'
import { upstreamRoute } from './admin/dashboard/pages/upstreams.ts'
import { overviewRoute } from './admin/dashboard/pages/overview.ts'
import { servePublished, type DashboardDoor } from './admin/dashboard/published.ts'
import { openDashboardServer, type CertificatePair, type DashboardServer } from './admin/dashboard/server.ts'
import type { AdminActions } from './admin/routes.ts'
import { findCertificateFiles, loadCertificate } from './edge/certificate-files.ts'
import type { CurrentPolicy } from './edge/connection.ts'
import type { DevAuthority } from './edge/dev-authority.ts'
import type { Reporter } from './journal/events.ts'
import { storeFile } from './journal/store-file.ts'
import { openStoreReading, type StoreReading } from './journal/store-reading.ts'
import { messageOf } from './own-events.ts'
import type { Address } from './net/address.ts'
import { parseCidr } from './net/cidr.ts'
import { reachesDashboard } from './policy/dashboard-reach.ts'
import type { GeoFacts } from './policy/facts.ts'
import { sitesWithin } from './policy/sites-within.ts'
import { formatSourceLine } from './policy/source-line.ts'
import type { DashboardPolicy } from './policy/dashboard-policy.ts'
import type { Endpoint, Snapshot } from './policy/snapshot.ts'
import { createPages } from './pages-parts.ts'

/** What the dashboard is put together from. */
export type DashboardOptions = {
  readonly access: Access
  readonly actions: AdminActions
  readonly current: CurrentPolicy
  readonly lookup: (address: Address) => GeoFacts
  readonly reporter: Reporter
  readonly clock: () => number
  readonly version: string
  /** How the gate names its policy directory. */
  readonly policyLabel: string
  readonly development: DevAuthority
  /** Where requests for the name at which it is published come in. */
  readonly door: DashboardDoor
  readonly internalError: (where: string, cause: unknown) => void
}

/** The dashboard of a running gate. */
export type Dashboard = {
  /** Opens, moves or closes it as the policy says. A failure is an event: agents must not wait for a dashboard. */
  readonly apply: (snapshot: Snapshot) => Promise<void>
  /** As bound; null: it is not open. */
  readonly endpoint: () => Endpoint | null
  readonly close: () => Promise<void>
}

/** Puts the dashboard together; it opens with `apply`. */
export function createDashboard(options: DashboardOptions): Dashboard {
  const { reporter, clock, current } = options
  const reading = openStoreReading({ file: storeFile(current().snapshot.directories.state) })
  const policy = (): DashboardPolicy | null => current().snapshot.dashboard
  const pages = createPages({
    actions: options.actions,
    snapshot: () => current().snapshot,
    policyLabel: options.policyLabel,
    reading,
    clock,
  })
  const handler = createDashboardHandler({
    access: options.access,
    sources: {
      status: options.actions.status,
      findEvents: query => reading.ask('findEvents', query),
      searchEvents: query => reading.ask('searchEvents', query),
      eventsByReference: reference => reading.ask('eventsByReference', reference),
    },
    routes: [...dashboardRoutes(options, reading), ...pages.routes],
    reporter,
    clock,
    version: options.version,
    assets: loadAssets(),
    names: () => new Set(policy()?.names),
    onInternalError: options.internalError,
  })
  const endPublished = servePublished({
    handler,
    door: options.door,
    host: () => policy()?.published?.host ?? null,
    isOpenTo: address => reachesDashboard(current(), { address, geo: options.lookup(address) }, clock()),
    onInternalError: options.internalError,
  })
  let server: DashboardServer | null = null
  let opened: DashboardPolicy | null = null
  let moving: Promise<unknown> = Promise.resolve()

  const move = async ({ dashboard }: Snapshot): Promise<void> => {
    if (dashboard !== null && server !== null && isSame(dashboard.endpoint, opened?.endpoint)) {
      opened = dashboard
      await server.renewCertificates()
      return
    }
    const left = server
    server = null
    opened = dashboard
    // Not waited for: the page that asked for this reload comes from there and wants its answer.
    if (left !== null) void left.close()
    if (dashboard === null) return
    const { host, port } = dashboard.endpoint
    try {
      server = await openDashboardServer(dashboard.endpoint, {
        handler,
        certificate: host => certificateFor(host, options),
        onInternalError: options.internalError,
      })
      reporter.report('listener.opened', { listener: 'dashboard', host, port: server.endpoint.port })
    } catch (cause) {
      const remedy =
        'Choose another dashboard.address, or stop what uses this one. The gate goes on without a dashboard.'
      reporter.report('listener.failed', {
        listener: 'dashboard',
        host,
        port,
        problem: messageOf(cause),
        remedy,
      })
    }
  }

  return {
    apply: snapshot => {
      const done = moving.then(() => move(snapshot))
      moving = done.catch(() => undefined)
      return done
    },
    endpoint: () => server?.endpoint ?? null,
    close: async () => {
      await moving
      handler.close()
      endPublished()
      await server?.close()
      await Promise.all([reading.close(), pages.close()])
    },
  }
}

/** Every page. What a page shows and does comes from here; the command line calls the same. */
function dashboardRoutes(options: DashboardOptions, reading: StoreReading): readonly PageRoute[] {
  const { actions, clock } = options
  const policy = (): Snapshot => options.current().snapshot
  return [
    overviewRoute({
      facts: actions.facts,
      countsByReason: sinceMs => reading.ask('countsByReason', sinceMs),
      tried: sinceMs => reading.ask('tried', sinceMs),
    }),
    ...eventRoutes({ sites: () => policy().sites, flush: actions.flush, clock }),
    connectionRoute(),
    ...clientRoutes({ keys: options.access.keys }),
    upstreamRoute(),
    certificateRoute({ names: () => policy().names.map(({ host }) => host) }),
    ...standingRoutes({
      entries: actions.entries,
      addEntry: actions.addEntry,
      removeEntries: actions.removeEntries,
      policyEntries: () => policyEntries(policy()),
      sitesWithin: text => {
        const range = parseCidr(text)
        return typeof range === 'string' ? [] : sitesWithin(range, policy().sites).map(({ id }) => id)
      },
    }),
    auditRoute(actions.flush),
  ]
}

function policyEntries({ ban, allow }: Snapshot): readonly PolicyEntry[] {
  return (['ban', 'allow'] as const).flatMap(kind =>
    (kind === 'ban' ? ban : allow).values().map(({ range, classes, reason, owner, expiresMs, at }) => ({
      kind,
      range: range.text,
      classes: classes === null ? null : [...classes],
      reason,
      owner,
      expiresMs,
      line: formatSourceLine(at),
    })),
  )
}

function isSame(a: Endpoint, b: Endpoint | undefined): boolean {
  return a.host === b?.host && a.port === b.port
}

async function readPair(files: {
  readonly certFile: string
  readonly keyFile: string
}): Promise<CertificatePair> {
  const [cert, key] = await Promise.all([readFile(files.certFile, 'utf8'), readFile(files.keyFile, 'utf8')])
  return { cert, key }
}

/** The certificate for a host: the policy's, one of the certs directory, or one made for development. */
async function certificateFor(asked: string | null, options: DashboardOptions): Promise<CertificatePair> {
  const { snapshot } = options.current()
  const { dashboard, directories } = snapshot
  const names = dashboard?.names ?? []
  const isKnown = asked !== null && (asked === 'localhost' || names.includes(asked))
  const address = dashboard?.endpoint.host ?? '127.0.0.1'
  const usual = address === '0.0.0.0' || address === '::' ? (names[0] ?? 'localhost') : address
  const host = isKnown ? asked : usual
  const given = dashboard?.certificate ?? null
  // Which names the policy's own certificate carries is for the browser to say.
  if (given !== null) return readPair(given)
  const entries = new Set(await readdir(directories.certs).catch(() => []))
  for (const files of findCertificateFiles(directories.certs, entries, host)) {
    const check = await loadCertificate(files, host, options.clock())
    if (check.ok) return check.certificate
  }
  const [made] = await options.development.filesFor(host)
  if (made === undefined) throw new Error(`no certificate could be made for ${host}`)
  return readPair(made)
}
