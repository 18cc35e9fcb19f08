// A way to one service of one client, over the first of an operator's gates that lets it through; made anew when it is gone.
import { PortcullisError } from '../../policy/error.ts'
import type { TunnelStream } from '../h2/gate-session.ts'
import {
  ABSENT_MS,
  askOrder,
  gatesToLookAt,
  hasBetter,
  newOrder,
  noteOutcome,
  type GateOrder,
  type GateOutcome,
} from './gate-order.ts'
import type { OperatorClient, OperatorConnection } from './operator-client.ts'

/** A way to a service that is made anew when it is gone. */
export type ServiceWay = {
  /** Logs in and is let through, without a connection to the service yet. @throws PortcullisError */
  readonly prepare: () => Promise<void>
  /** Opens a TCP connection to the service. @throws PortcullisError */
  readonly open: () => Promise<TunnelStream>
  readonly close: () => void
}

/** What a way tells. */
export type ServiceWayOwner = {
  readonly nowMs: () => number
  /** Resolves after some milliseconds; tests do not wait. */
  readonly wait: (ms: number) => Promise<void>
  /** Calls back again and again until the returned function is called. */
  readonly every: (ms: number, tick: () => void) => () => void
  /** The way that new connections would take is gone, with the reason. */
  readonly lost: (why: string) => void
  /** A gate does not carry new connections any more, though it did or should. */
  readonly left: (gate: string, why: string) => void
  /** New connections go through this gate from now on, not through the one before. */
  readonly moved: (gate: string) => void
}

type Way = { readonly gate: number; readonly connection: OperatorConnection }

/** How often gates that are away are looked at, at most. */
const LOOK_MS = 500
/** A client that changes gates is between them for so long: connections that come meanwhile wait. */
const BETWEEN_MS = 15_000
const AGAIN_MS = 500

/**
 * Makes a way to a service.
 * @param gates one or more, the most wanted first. Credentials that one of them refuses are shown to no other
 */
export function createServiceWay(
  gates: readonly OperatorClient[],
  client: string,
  service: string,
  owner: ServiceWayOwner,
): ServiceWay {
  let order: GateOrder = newOrder(gates.length)
  let current: Way | null = null
  let connecting: Promise<Way> | null = null
  let lastGate = 0
  let hasStood = false
  let isClosed = false
  const looking = new Set<number>()

  const note = (gate: number, outcome: GateOutcome, why = ''): void => {
    if (outcome === 'away' && gates.length > 1 && order[gate]?.is !== 'away') owner.left(nameOf(gate), why)
    order = noteOutcome(order, gate, outcome, owner.nowMs())
  }
  const nameOf = (gate: number): string => gates[gate]?.place ?? ''

  const take = (gate: number, connection: OperatorConnection): Way => {
    const way = { gate, connection }
    const before = current
    current = way
    hasStood = true
    note(gate, 'good')
    if (gate !== lastGate) owner.moved(nameOf(gate))
    lastGate = gate
    // What runs through the gate of before ends there in its own time.
    before?.connection.session.finish('new connections go through another gate')
    void connection.closed.then(why => {
      if (current !== way) return
      current = null
      if (isClosed) return
      // Whether it is the gate or the line: others are asked first until it has answered again.
      if (gates.length > 1) note(gate, 'away', why)
      else owner.lost(why)
    })
    return way
  }

  /** Asks the gates in turn. */
  const connectAny = async (): Promise<Way> => {
    const troubles: PortcullisError[] = []
    for (const gate of askOrder(order, owner.nowMs())) {
      const standing = usable(current)
      if (standing !== null && standing.gate <= gate) return standing
      try {
        const connection = await gates[gate]?.connect(client, service)
        if (connection !== undefined) return take(gate, connection)
      } catch (error) {
        const outcome = outcomeOf(error)
        if (!(error instanceof PortcullisError) || outcome === null) throw error
        note(gate, outcome, error.message)
        troubles.push(error)
      }
    }
    throw allOf(troubles)
  }

  const obtain = (): Promise<Way> => {
    const standing = usable(current)
    if (standing !== null && !hasBetter(order, standing.gate, owner.nowMs())) return Promise.resolve(standing)
    connecting ??= connectAny().finally(() => {
      connecting = null
    })
    return connecting
  }

  /** Waits while the client changes gates, when there are several. */
  const obtainPatiently = async (): Promise<Way> => {
    const untilMs = owner.nowMs() + (gates.length > 1 && hasStood ? BETWEEN_MS : 0)
    for (;;) {
      try {
        return await obtain()
      } catch (error) {
        if (isClosed || outcomeOf(error) === null || owner.nowMs() >= untilMs) throw error
      }
      await owner.wait(AGAIN_MS)
    }
  }

  const look = (): void => {
    for (const gate of gatesToLookAt(order, owner.nowMs())) {
      if (looking.has(gate)) continue
      looking.add(gate)
      gates[gate]?.look().then(
        () => {
          looking.delete(gate)
          note(gate, 'good')
        },
        (error: unknown) => {
          looking.delete(gate)
          note(gate, 'away', String(error))
        },
      )
    }
  }
  const stopLooking = gates.length > 1 ? owner.every(LOOK_MS, look) : () => undefined

  return {
    prepare: async () => {
      await obtain()
    },
    open: async () => {
      for (let tries = 0; ; tries++) {
        const way = await obtainPatiently()
        try {
          return await openOn(way.connection, service)
        } catch (error) {
          // Of the service: no other gate would change it. Of the way: it has broken, and nothing was sent yet.
          if (tries >= gates.length || !isOfWay(error)) throw error
          if (current === way) current = null
          if (gates.length > 1) note(way.gate, 'away', error instanceof Error ? error.message : '')
        }
      }
    },
    close: () => {
      isClosed = true
      stopLooking()
      current?.connection.session.end('the operator has finished')
      void connecting?.then(
        ({ connection }) => connection.session.end('the operator has finished'),
        () => undefined,
      )
    },
  }
}

function usable(way: Way | null): Way | null {
  return way?.connection.session.isOpen() === true ? way : null
}

async function openOn({ session }: OperatorConnection, service: string): Promise<TunnelStream> {
  const stream = session.open(service)
  await new Promise<void>((resolve, reject) => {
    stream.once('error', reject)
    stream.once('connect', () => {
      stream.on('error', () => undefined).off('error', reject)
      resolve()
    })
  })
  return stream
}

function isOfWay(error: unknown): boolean {
  return !(error instanceof PortcullisError) || error.code === 'client-gone'
}

/**
 * What an error says of a gate; null: it says nothing of it, but of who asks or of what is asked for, and no other gate is to be
 * asked. A refused login above all: an operator who mistypes once must not be held by every gate that he has, and what
 * one gate has refused is not for others to learn.
 */
export function outcomeOf(error: unknown): GateOutcome | null {
  if (!(error instanceof PortcullisError)) return null
  const { code, status } = error
  if (code === 'client-unknown') return 'absent'
  if (status !== null && status !== undefined) return status >= 500 ? 'away' : null
  return AWAY.has(code) ? 'away' : null
}

/** Codes of dialling that are about one gate. A proxy that fails fails for all. */
const AWAY: ReadonlySet<string> = new Set([
  'network-unreachable',
  'network-broken',
  'proxy-refused',
  'gate-alert',
  'gate-untrusted',
  'gate-broken',
])

/** One error for what every gate has said. */
function allOf(troubles: readonly PortcullisError[]): PortcullisError {
  const [first] = troubles
  if (first === undefined || troubles.length === 1)
    return (
      first ??
      new PortcullisError('there is no gate', {
        code: 'gate-missing',
        side: 'internal',
        remedy: 'Add --gate https://host.',
      })
    )
  const absent = troubles.find(({ code }) => code === 'client-unknown')
  const chosen = absent ?? first
  return new PortcullisError(troubles.map(({ message }) => message).join(' And: '), {
    code: chosen.code,
    side: 'upstream',
    retry: true,
    ...(chosen.status === null ? {} : { status: chosen.status }),
    remedy:
      absent === undefined
        ? chosen.remedy
        : `${absent.remedy} A client that changes gates is there within ${Math.ceil((ABSENT_MS + BETWEEN_MS) / 1_000)} s.`,
  })
}
