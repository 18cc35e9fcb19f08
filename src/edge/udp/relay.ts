// The heartbeat relay: UDP listeners that follow the policy, each with its flow table, and what they report.
import type { Reporter } from '../../journal/events.ts'
import type { Address } from '../../net/address.ts'
import type { GeoFacts } from '../../policy/facts.ts'
import type { HeartbeatState } from '../../policy/running-state.ts'
import type { HeartbeatListener, Snapshot } from '../../policy/snapshot.ts'
import type { CurrentPolicy } from '../connection.ts'
import type { ListeningAddress } from '../listening.ts'
import { createTurns } from '../turns.ts'
import type { FlowEnd } from './flow.ts'
import type { HeartbeatTunnels } from './way.ts'
import { ReceiveLosses } from './receive-losses.ts'
import { HeartbeatService, type ServiceContext } from './service.ts'

/** What the relay needs from outside. */
export type HeartbeatRelayOptions = {
  readonly current: CurrentPolicy
  readonly lookup: (address: Address) => GeoFacts
  readonly reporter: Reporter
  /** Milliseconds since the epoch. */
  readonly clock: () => number
  /** Whether a source of a listener is known not to be forged; absent: never. */
  readonly isProven?: (listener: string, address: Address) => boolean
  /** The tunnels of connectors; null: there are none. */
  readonly tunnels?: HeartbeatTunnels | null
}

/** The running relay. */
export type HeartbeatRelay = {
  /**
   * Opens, changes and closes listeners; flows that the policy still admits stay, unless their server is another one.
   * @param end why flows of listeners end that are no more; default: reload
   */
  readonly apply: (snapshot: Snapshot, end?: FlowEnd) => Promise<void>
  /** Addresses that listen now. */
  readonly addresses: () => readonly ListeningAddress[]
  readonly states: () => readonly HeartbeatState[]
  readonly close: () => Promise<void>
}

const TICK_MS = 1_000
const RETRY_MS = 10_000
/** How often the system is asked what it dropped. */
const LOSSES_MS = 60_000

/** Creates a relay that listens nowhere until `apply`. */
export function createHeartbeatRelay(options: HeartbeatRelayOptions): HeartbeatRelay {
  const services = new Map<string, HeartbeatService>()
  const context: ServiceContext = { ...options, nowMs: options.clock, tunnels: options.tunnels ?? null }
  const inTurn = createTurns()
  let wanted: readonly HeartbeatListener[] = []
  let ticking: NodeJS.Timeout | null = null
  let triedMs = 0
  const losses = new ReceiveLosses()
  let lossesMs = options.clock()

  const openAll = async (): Promise<void> => {
    triedMs = options.clock()
    const isV4Wanted = (port: number): boolean =>
      wanted.some(entry => entry.endpoints.some(at => at.host === '0.0.0.0' && at.port === port))
    for (const service of services.values()) await service.open(isV4Wanted)
  }

  const lookForLosses = async (): Promise<void> => {
    const open = [...services.values()].flatMap(service => service.addresses())
    const lost = await losses.look([...new Set(open.map(({ port }) => port))])
    for (const [port, datagrams] of lost) {
      const listener = open.find(entry => entry.port === port)?.listener ?? ''
      options.reporter.report('heartbeat.overrun', { listener, port, datagrams })
    }
  }

  const tick = (): void => {
    const nowMs = options.clock()
    if (Math.abs(nowMs - lossesMs) >= LOSSES_MS) {
      lossesMs = nowMs
      void lookForLosses()
    }
    let isIncomplete = false
    let isBack = false
    for (const service of services.values()) {
      if (service.tick(nowMs)) isBack = true
      if (!service.isComplete()) isIncomplete = true
    }
    if (isBack || (isIncomplete && Math.abs(nowMs - triedMs) >= RETRY_MS)) void inTurn(openAll)
  }

  const startTicking = (): void => {
    if (services.size > 0) {
      ticking ??= setInterval(tick, TICK_MS)
      ticking.unref()
    } else if (ticking !== null) {
      clearInterval(ticking)
      ticking = null
    }
  }

  return {
    apply: (snapshot, end = 'reload') =>
      inTurn(async () => {
        wanted = snapshot.heartbeats
        for (const [id, service] of services) {
          const settings = wanted.find(entry => entry.id === id)
          if (settings === undefined) {
            service.close(end)
            services.delete(id)
          } else service.reconfigure(settings)
        }
        for (const settings of wanted) {
          if (!services.has(settings.id)) services.set(settings.id, new HeartbeatService(context, settings))
        }
        startTicking()
        await openAll()
      }),
    addresses: () => [...services.values()].flatMap(service => service.addresses()),
    states: () => [...services.values()].map(service => service.state()),
    close: () =>
      inTurn(async () => {
        wanted = []
        for (const service of services.values()) service.close('shutdown')
        services.clear()
        startTicking()
        await Promise.resolve()
      }),
  }
}
