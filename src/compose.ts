// The composition root: makes every part, hands each what it needs, and keeps them in step with the policy.
import { hash, randomBytes } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { invitationRoutes } from './admin/invitation-routes.ts'
import { accessRoutes } from './admin/access-routes.ts'
import { createDashboardDoor } from './admin/dashboard/published.ts'
import { createAdminAddress, type AdminAddress } from './admin-parts.ts'
import { ensureAdminToken } from './admin/token.ts'
import { adminRoutes } from './admin/routes.ts'
import type { ReloadOptions, ReloadResult } from './admin/reload-result.ts'
import type { GateStatus, RejectedPolicy } from './admin/status.ts'
import { diffSnapshots } from './config/diff.ts'
import { loadPolicy, POLICY_FILE } from './config/load.ts'
import { formatProblem, renderProblem } from './config/problems.ts'
import { watchPolicy } from './config/watch.ts'
import { createCertificates } from './edge/certificates.ts'
import type { PolicyInForce } from './edge/connection.ts'
import { createDevAuthority } from './edge/dev-authority.ts'
import { drainAll } from './edge/drain.ts'
import { createGate, type Gate } from './edge/gate.ts'
import type { HeartbeatRelay } from './edge/udp/relay.ts'
import { createHttpHandler } from './edge/http/handler.ts'
import { createUpstreams } from './forward/upstreams.ts'
import { createForwarder } from './forward/wire-forwarder.ts'
import { bundledDatabases } from './geo/bundled.ts'
import { createCountryLookup } from './geo/lookup.ts'
import type { LineSink } from './journal/line-sink.ts'
import { createReferences } from './journal/reference.ts'
import type { JournalReporter } from './journal/reporter.ts'
import { buildOverlay } from './journal/store-overlay.ts'
import { PortcullisError } from './policy/error.ts'
import type { Snapshot } from './policy/snapshot.ts'
import { createHeartbeatParts } from './heartbeat-parts.ts'
import { overlayActions } from './overlay-actions.ts'
import { DASHBOARD_VIA } from './policy/dashboard-policy.ts'
import { createDashboard, type Dashboard } from './dashboard-parts.ts'
import { createJournalParts } from './journal-parts.ts'
import { createPolicyGuard, type PolicyGuard } from './policy-guard.ts'
import { createPolicyHistory } from './policy-history.ts'
import { createGatewayParts, openAccess } from './gateway-parts.ts'
import { loadedFields } from './own-events.ts'
import { createRulePromotion } from './rule-promotion.ts'
import { startExpiryWarnings } from './expiry-warnings.ts'
import { connectionGauges, gateFacts, gateStatus } from './status.ts'
import { createUpstreamPace } from './upstream-pace.ts'
import { createInvitationParts } from './invitation-parts.ts'
import { createStreamParts } from './stream-parts.ts'
import type { StreamRelay } from './edge/tcp/relay.ts'

/** What the gate is started with. */
export type StartOptions = {
  readonly policyDirectory: string
  /** How log lines and explanations name the policy directory; the directory itself when left out. */
  readonly policyLabel?: string
  readonly stateDirectory?: string
  readonly version: string
  readonly platform: string
  readonly pid: number
  /** Where log lines go that are not for files. */
  readonly standardLines: LineSink
  readonly clock: () => number
  readonly memory: () => { readonly rssBytes: number; readonly heapBytes: number }
  /** Whether changes of the policy files are taken up by themselves. */
  readonly watch: boolean
}

/** What asked for a reload. */
type ReloadTrigger = 'file' | 'signal' | 'command' | 'guard'

/** A running gate. */
export type Portcullis = {
  readonly gate: Gate
  readonly heartbeats: HeartbeatRelay
  readonly streams: StreamRelay
  readonly snapshot: () => Snapshot
  readonly adminEndpoint: AdminAddress['endpoint']
  readonly dashboardEndpoint: Dashboard['endpoint']
  readonly reporter: JournalReporter
  readonly reload: (trigger: ReloadTrigger, options?: ReloadOptions) => Promise<ReloadResult>
  /** Drains, closes everything and resolves when nothing is left. */
  readonly stop: () => Promise<void>
}

/**
 * Starts everything.
 * @throws PortcullisError `policy-invalid` when there is no valid policy to start with, `admin-address` when the admin
 * address cannot be bound, `nothing-listens` when no listener could be opened
 */
export async function startPortcullis(options: StartOptions): Promise<Portcullis> {
  const { clock, policyDirectory } = options
  const startedMs = clock()
  const load = (): ReturnType<typeof loadPolicy> =>
    loadPolicy({
      directory: policyDirectory,
      label: options.policyLabel ?? policyDirectory,
      nowMs: clock(),
      ...(options.stateDirectory === undefined ? {} : { stateDir: options.stateDirectory }),
    })
  const first = load()
  if (!first.ok) {
    const problems = first.problems.map(renderProblem).join('\n\n')
    throw new PortcullisError(`the policy in ${policyDirectory} is not valid\n\n${problems}\n`, {
      code: 'policy-invalid',
      side: 'configuration',
      remedy: 'Correct the lines above; `portcullis check` says when it is right.',
    })
  }
  let inForce: PolicyInForce = { snapshot: first.snapshot, overlay: buildOverlay([]) }
  let warnings = first.warnings.map(formatProblem)
  let rejected: RejectedPolicy | null = null
  const current = (): PolicyInForce => inForce
  const stateDir = first.snapshot.directories.state
  mkdirSync(stateDir, { recursive: true, mode: 0o700 })

  let guard: PolicyGuard | null = null
  let promotedRules: ReadonlySet<string> = new Set()
  const pace = createUpstreamPace()
  // The journal comes first: everything after it reports.
  const journal = await createJournalParts({
    stateDir,
    policy: first.snapshot.journal,
    clock,
    standardLines: options.standardLines,
    onEntriesEnded: () => void refreshOverlay(),
    onRecorded: (name, fields, nowMs) => {
      guard?.record(name, fields, nowMs)
      pace.record(name, fields, nowMs)
    },
  })
  const { metrics, ledger, store, reporter, internalError } = journal
  const refreshOverlay = async (): Promise<void> => {
    try {
      const overlay = buildOverlay(await store.call('overlayEntries'), promotedRules)
      // Only now: a policy that was taken while the store answered must not be undone.
      inForce = { ...inForce, overlay }
    } catch (cause) {
      // Without the store the bans and allows that are known stay in force.
      internalError('overlay', cause)
    }
  }
  const access = openAccess(stateDir, clock, reporter)
  const promotion = createRulePromotion(
    () => inForce.snapshot,
    store,
    { report: (name, fields) => reporter.report(name, fields) },
    clock,
    promoted => {
      promotedRules = promoted
      inForce = { ...inForce, overlay: { ...inForce.overlay, promotedRules } }
    },
  )
  const lookAtRules = () => promotion.look().catch((cause: unknown) => internalError('rules', cause))
  await lookAtRules()
  await refreshOverlay()
  reporter.report('gate.started', {
    version: options.version,
    platform: options.platform,
    maxConnections: first.snapshot.limits.connections,
    pid: options.pid,
  })
  reporter.report('policy.loaded', loadedFields(first.snapshot, [], warnings))
  const history = createPolicyHistory(stateDir, policyDirectory, internalError)
  history.record(first.snapshot, { atMs: startedMs, who: 'start', why: '', changes: [] })

  // What decisions need, then what they lead to.
  const countries = await createCountryLookup({
    directory: first.snapshot.directories.geoip,
    bundled: bundledDatabases(),
    reporter,
    clock,
  })
  const { lookup } = countries
  const { heartbeats, attachUdp } = createHeartbeatParts({ current, lookup, reporter, clock })
  const tunnel = createGatewayParts({ access, reporter, clock, current, udp: attachUdp, stateDir })
  const door = createDashboardDoor()
  const through: typeof tunnel.through = via => (via === DASHBOARD_VIA ? door.connect() : tunnel.through(via))
  const forwarder = createForwarder({ through })
  const upstreams = createUpstreams({
    reporter,
    clock,
    random: Math.random,
    openRequests: member => forwarder.open(member),
    through,
  })
  tunnel.follow(upstreams)
  upstreams.apply(first.snapshot)
  const development = createDevAuthority(first.snapshot.directories.certs, clock)
  const certificates = createCertificates({ reporter, nowMs: clock, development })
  await certificates.apply(first.snapshot)
  const newReference = createReferences(bytes => crypto.getRandomValues(bytes as Uint8Array<ArrayBuffer>))
  const handler = createHttpHandler({
    current,
    forwarder,
    selection: upstreams,
    reporter,
    lookup: countries.lookup,
    newReference,
    sha256Hex: text => hash('sha256', text),
    own: tunnel.own,
    clock: {
      nowMs: clock,
      monotonicMs: () => performance.now(),
      every: (ms, tick) => {
        const timer = setInterval(tick, ms)
        return () => clearInterval(timer)
      },
    },
  })
  const shared = { current, lookup: countries.lookup, reporter, certificates, newReference, clock }
  const ticketSecret = randomBytes(32)
  const gate = createGate({ ...shared, isUpstreamUp: upstreams.isUp, handler, ticketSecret })
  const streamOptions = { ...shared, gate, ticketSecret, openThrough: through }
  const streams = createStreamParts(streamOptions)
  tunnel.follow(streams)
  const invitations = createInvitationParts({ ...streamOptions, stateDir })

  const parts = { gate, heartbeats, streams, invitations, upstreams, certificates, countries, store, ledger }
  metrics.addGauges(connectionGauges(parts, current))

  let reloading: Promise<unknown> = Promise.resolve()
  const reload: Portcullis['reload'] = (trigger, options = {}) => {
    const done = reloading.then(() => reloadNow(trigger, options))
    reloading = done.catch(() => undefined)
    return done
  }
  const reloadNow = async (trigger: ReloadTrigger, options: ReloadOptions): Promise<ReloadResult> => {
    reporter.report('policy.reloading', { trigger })
    const old = inForce.snapshot
    const result = load()
    if (!result.ok) {
      const problems = result.problems.map(formatProblem)
      rejected = { atMs: clock(), problems }
      reporter.report('policy.rejected', { problems, keptId: old.id })
      return { ok: false, problems: result.problems.map(renderProblem), keptId: old.id }
    }
    rejected = null
    warnings = result.warnings.map(formatProblem)
    const { snapshot } = result
    const changes = diffSnapshots(old, snapshot)
    if (snapshot.id !== old.id) {
      // Certificates and upstream groups of the new policy must be there before the first decision names them.
      await certificates.apply(snapshot)
      upstreams.apply(snapshot)
      inForce = { ...inForce, snapshot }
      tunnel.policyChanged()
      reporter.reconfigure(snapshot.journal)
      await gate.apply(snapshot)
      await Promise.all([heartbeats, streams, invitations].map(part => part.apply(snapshot)))
      forwarder.retain([...snapshot.upstreams.values()].flatMap(group => group.members))
      await admin.move(snapshot)
      await dashboard.apply(snapshot)
      watcher?.refresh()
      reporter.report('policy.loaded', loadedFields(snapshot, changes, warnings))
    }
    const { who = trigger, why = '' } = options
    const { previous, version } = history.record(snapshot, { atMs: clock(), who, why, changes })
    const guarded = options.guard !== undefined && version !== null && previous !== null
    if (guarded) guard?.watch(options.guard, version, previous)
    else if (snapshot.id !== old.id) guard?.release()
    await lookAtRules()
    if (trigger !== 'file')
      await Promise.all([certificates.reload(), countries.reload(), access.reload(), refreshOverlay()])
    const closed =
      options.closeRefused === true
        ? [gate, streams, invitations].reduce((sum, part) => sum + part.cutRefused(), 0)
        : 0
    return { ok: true, id: snapshot.id, version: version?.number ?? null, changes, warnings, guarded, closed }
  }
  guard = createPolicyGuard(reporter, clock, async (to, why) => {
    history.restore(to)
    const result = await reload('guard', { who: 'the guard', why })
    if (!result.ok) internalError('guard', new Error(result.problems.join('; ')))
  })
  const status = (): GateStatus =>
    gateStatus({
      ...parts,
      ...tunnel.status(),
      slowness: member => pace.slowness(member, clock()),
      current,
      clock,
      startedMs,
      warnings,
      rejected,
      version: options.version,
      pid: options.pid,
      memory: options.memory,
    })
  const actions = {
    status,
    facts: () => gateFacts(status(), inForce.snapshot, store, guard?.state() ?? null),
    reload: (options: ReloadOptions) => reload('command', options),
    guard: () => guard?.state() ?? null,
    ruleCounters: () => inForce.snapshot.rules.counters(),
    ...overlayActions(store, reporter, refreshOverlay),
    flush: () => store.flush(),
  }
  const routes = {
    ...adminRoutes(actions),
    ...accessRoutes(access),
    ...tunnel.routes,
    ...invitationRoutes(invitations),
  }
  const dashboard = createDashboard({
    door,
    access,
    actions,
    current,
    lookup,
    reporter,
    clock,
    version: options.version,
    policyLabel: options.policyLabel ?? policyDirectory,
    development,
    internalError,
  })

  const admin = createAdminAddress(
    {
      token: ensureAdminToken(stateDir),
      metrics: () => metrics.render(),
      routes,
      onInternalError: internalError,
    },
    reporter,
  )

  const close = async (connectionsCut: number): Promise<void> => {
    expiryWarnings.stop()
    guard?.stop()
    promotion.stop()
    watcher?.close()
    await Promise.all([admin.close(), dashboard.close()])
    await tunnel.close()
    await Promise.all([gate.close(), streams.close(), invitations.close()])
    await heartbeats.close()
    upstreams.close()
    await forwarder.close()
    certificates.close()
    countries.close()
    reporter.report('gate.stopped', { uptimeMs: clock() - startedMs, connectionsCut })
    await reporter.close()
    await store.close()
  }

  const expiryWarnings = startExpiryWarnings(current, reporter, clock)
  let watcher: ReturnType<typeof watchPolicy> | null = null

  try {
    await admin.open(first.snapshot)
  } catch (cause) {
    await close(0)
    throw cause
  }
  const opened = await gate.apply(first.snapshot)
  if (opened.opened + (await streams.apply(first.snapshot)) === 0) {
    reporter.report('gate.start-failed', {
      code: 'nothing-listens',
      problem: 'no listener could be opened',
      remedy: 'The events before this one say which port is taken, and by whom.',
    })
    await close(0)
    throw new PortcullisError('no listener could be opened', {
      code: 'nothing-listens',
      side: 'configuration',
      remedy: 'The lines above say which port is taken, and by whom.',
    })
  }
  await Promise.all([heartbeats.apply(first.snapshot), invitations.apply(first.snapshot)])
  await dashboard.apply(first.snapshot)
  certificates.watch()
  if (options.watch) {
    watcher = watchPolicy({
      directory: policyDirectory,
      file: POLICY_FILE,
      extraFiles: () => inForce.snapshot.files,
      onChange: () => void reload('file').catch(cause => internalError('reload', cause)),
      onProblem: problem => internalError('policy watch', new Error(problem)),
    })
  }

  let stopping: Promise<void> | undefined
  return {
    gate,
    heartbeats,
    streams,
    snapshot: () => inForce.snapshot,
    adminEndpoint: admin.endpoint,
    dashboardEndpoint: dashboard.endpoint,
    reporter,
    reload,
    stop: () =>
      (stopping ??= drainAll([gate, streams, invitations], inForce.snapshot.limits.drainMs).then(close)),
  }
}
