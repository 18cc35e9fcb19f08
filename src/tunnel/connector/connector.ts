// The connector: lines to its gates that follow the pure state machines, sessions that serve its own services, and what it says.
import type { Duplex } from 'node:stream'
import { identityHeader, type HeldIdentity, type KeyingMaterial } from '../client-identity.ts'
import { serveConnectorSession, type Reached } from '../h2/connector-session.ts'
import { identityHeaders, type Identity } from '../identity.ts'
import { REPLACED } from '../registry.ts'
import { DialError, dialGate, type GateAddress, type ProxyAddress } from './dial.ts'
import { newChoice, noteGate, wantedGates, type ChoiceRules, type ChoiceState } from './gate-choice.ts'
import { placeOf } from './gate-place.ts'
import { INTRODUCTION_PACE, startIntroductions, type IntroductionPace } from './introductions.ts'
import { NEW_LINE, stepLine, type LineFact, type LineState } from './line-state.ts'
import type { ConnectorEvent } from './events.ts'

/** What a connector is told to be. */
export type ConnectorSettings = {
  readonly name: string
  readonly gates: readonly GateAddress[]
  readonly choice: ChoiceRules
  readonly proxy: ProxyAddress | null
  /** Address that this machine has in its network; null: that of the connection to the gate. */
  readonly realAddress: string | null
  readonly version: string
  readonly services: Identity['services']
  /** UDP connections to each gate; 0: none. */
  readonly udpConnections: number
}

/** What a connector needs. */
export type ConnectorOptions = {
  readonly key: string
  /** The identity that this connector shows to every gate; null: it has none. */
  readonly held: HeldIdentity | null
  /** Random, 16 characters or more. */
  readonly instance: string
  readonly monotonicMs: () => number
  /** 0 (included) to 1 (excluded). */
  readonly random: () => number
  readonly report: (event: ConnectorEvent) => void
  readonly reach: (service: string, signal: AbortSignal) => Promise<Reached>
  /** Serves UDP services on a socket whose gate has said 101 to `connect-udp`; null: there are none. */
  readonly udp: JoinUdp | null
  /** When gates that are not needed yet get to know the connector; left out: the usual pace. */
  readonly introductions?: IntroductionPace
}

/** Serves UDP on a joined socket until it ends. */
export type JoinUdp = (
  socket: Duplex,
  early: Buffer,
  onEnd: (why: string) => void,
) => { readonly end: (why: string) => void }

/** A running connector. */
export type Connector = {
  /** Gates that it is attached to now, by their place in the file. */
  readonly attached: () => readonly number[]
  /** Connections through it that run now. */
  readonly streams: () => number
  readonly stop: () => void
}

type Protocol = 'portcullis-h2' | 'connect-udp'

/** What carries a line. */
type Carrier = {
  readonly finish: (why: string) => void
  readonly end: (why: string) => void
  readonly streams: () => number
}

type Line = {
  readonly gate: number
  readonly protocol: Protocol
  state: LineState
  timer: NodeJS.Timeout | null
  dialling: AbortController | null
  carrier: Carrier | null
  /** The failure that was reported last; null: none since it was attached. */
  said: { readonly code: string; readonly atMs: number } | null
}

const DIAL_MS = 10_000
const SAY_AGAIN_MS = 600_000
const LOOK_MS = 250
/** After an answer that only a person can change. */
const REFUSED_MS = 30_000
/** Two connectors with one name would take each other's place for ever. */
const REPLACED_MS = 60_000

/** Starts a connector. */
export function startConnector(settings: ConnectorSettings, options: ConnectorOptions): Connector {
  const { report, monotonicMs, random } = options
  let choice: ChoiceState = newChoice(settings.gates.length, monotonicMs())
  let isStopped = false
  /** Carriers that live, also those that take nothing new. */
  const carriers = new Set<Carrier>()
  const lines: Line[] = settings.gates.flatMap((_, gate) => [
    newLine(gate, 'portcullis-h2'),
    ...Array.from({ length: settings.udpConnections }, () => newLine(gate, 'connect-udp')),
  ])

  const take = (line: Line, fact: LineFact): void => {
    if (isStopped) return
    const { state, action } = stepLine(line.state, fact, monotonicMs(), random())
    line.state = state
    if (line.timer !== null) clearTimeout(line.timer)
    line.timer =
      state.phase.is === 'waiting'
        ? setTimeout(() => take(line, { kind: 'time' }), Math.max(0, state.phase.untilMs - monotonicMs()))
        : null
    if (action === 'dial') void dial(line)
    else if (action === 'hangUp') line.dialling?.abort()
    else if (action === 'finish') line.carrier?.finish(LEFT)
  }

  const look = (): void => {
    const wanted = wantedGates(choice, settings.choice, monotonicMs())
    for (const line of lines) {
      // UDP goes with the line that says who the connector is.
      const isUp = line.protocol === 'portcullis-h2' || choice.attachedMs[line.gate] !== null
      const want = (wanted[line.gate] ?? false) && isUp
      if (want !== line.state.wanted) take(line, { kind: 'want', wanted: want })
    }
  }

  const note = (line: Line, attached: boolean): void => {
    if (line.protocol !== 'portcullis-h2') return
    choice = noteGate(choice, line.gate, attached, monotonicMs())
    look()
  }

  const dial = async (line: Line): Promise<void> => {
    const gate = settings.gates[line.gate]
    if (gate === undefined) return
    const place = placeOf(gate)
    const stop = new AbortController()
    line.dialling = stop
    try {
      const { socket, early } = await dialGate(
        gate,
        settings.proxy,
        line.protocol,
        headersOf(settings, options, line.protocol),
        AbortSignal.any([stop.signal, AbortSignal.timeout(DIAL_MS)]),
      )
      if (stop.signal.aborted || isStopped) socket.destroy()
      else if (line.protocol === 'portcullis-h2') serveTcp(line, socket, early, place)
      else serveUdp(line, socket, early)
    } catch (error) {
      if (stop.signal.aborted || isStopped) return
      if (!(error instanceof DialError)) throw error
      const { kind, code, message, remedy, retryAfterMs } = error.failure
      // What is new at once, the same again now and then: an outage of a day is a page of log, not a book.
      const { said } = line
      if (said?.code !== code || monotonicMs() - said.atMs > SAY_AGAIN_MS) {
        line.said = { code, atMs: monotonicMs() }
        report({ event: 'gate.unreachable', gate: place, kind, code, problem: message, remedy })
      }
      const slow = kind === 'refused' || kind === 'trust' || code === 'proxy-login'
      take(line, { kind: 'failed', afterMs: retryAfterMs ?? (slow ? REFUSED_MS : null) })
    } finally {
      if (line.dialling === stop) line.dialling = null
    }
  }

  const serveTcp = (line: Line, socket: Duplex, early: Buffer, place: string): void => {
    if (early.length > 0) socket.unshift(early)
    let isReady = false
    const session = serveConnectorSession(socket, {
      nowMs: monotonicMs,
      reach: options.reach,
      ready: () => {
        isReady = true
        line.said = null
        report({ event: 'gate.attached', gate: place, services: settings.services.map(({ name }) => name) })
        take(line, { kind: 'attached' })
        // Nobody may have wanted it any more: then it has been left already.
        if (line.state.phase.is === 'attached') note(line, true)
      },
      closed: (why, said) => {
        if (line.carrier === carrier) line.carrier = null
        if (isReady && !isStopped) {
          const meant = line.state.phase.is === 'finishing'
          report({ event: meant ? 'gate.left' : 'gate.lost', gate: place, why })
        }
        const afterMs = !said
          ? null
          : why === REPLACED
            ? REPLACED_MS
            : why === KEY_REMOVED
              ? REFUSED_MS
              : null
        take(line, { kind: isReady ? 'lost' : 'failed', afterMs })
        note(line, false)
      },
      gone: () => carriers.delete(carrier),
    })
    const carrier: Carrier = session
    carriers.add(carrier)
    line.carrier = carrier
  }

  const serveUdp = (line: Line, socket: Duplex, early: Buffer): void => {
    if (options.udp === null) return
    const joined = options.udp(socket, early, () => {
      carriers.delete(carrier)
      if (line.carrier === carrier) line.carrier = null
      take(line, { kind: 'lost', afterMs: null })
    })
    const end = (why: string): void => joined.end(why)
    const carrier: Carrier = { end, finish: end, streams: () => 0 }
    carriers.add(carrier)
    line.carrier = carrier
    take(line, { kind: 'attached' })
  }

  const looking = setInterval(look, LOOK_MS)
  look()
  const stopIntroductions =
    settings.choice.mode === 'standby'
      ? startIntroductions({
          gates: settings.gates,
          isWanted: gate => wantedGates(choice, settings.choice, monotonicMs())[gate] ?? false,
          knock: async (gate, signal) => {
            const headers = headersOf(settings, options, 'portcullis-h2')
            const { socket } = await dialGate(gate, settings.proxy, 'portcullis-h2', headers, signal)
            socket.destroy()
          },
          random,
          report,
          pace: options.introductions ?? INTRODUCTION_PACE,
        })
      : null
  return {
    attached: () =>
      lines.flatMap(({ gate, protocol, state }) =>
        protocol === 'portcullis-h2' && state.phase.is === 'attached' ? [gate] : [],
      ),
    streams: () => [...carriers].reduce((sum, carrier) => sum + carrier.streams(), 0),
    stop: () => {
      isStopped = true
      clearInterval(looking)
      stopIntroductions?.()
      for (const line of lines) {
        if (line.timer !== null) clearTimeout(line.timer)
        line.dialling?.abort()
      }
      for (const carrier of carriers) carrier.end('the connector stops')
    },
  }
}

/** Why a connector leaves a gate that works. */
const LEFT = 'the connector has a better gate'

/** Why clients of a removed key were detached. */
export const KEY_REMOVED = 'the gateway key was removed'

function newLine(gate: number, protocol: Protocol): Line {
  return { gate, protocol, state: NEW_LINE, timer: null, dialling: null, carrier: null, said: null }
}

/** Who attaches, as headers: the proof of its identity fits the one TLS session that they are sent in. */
function headersOf(
  settings: ConnectorSettings,
  { held, instance, key }: Pick<ConnectorOptions, 'held' | 'instance' | 'key'>,
  protocol: Protocol,
): (localAddress: string, material: KeyingMaterial) => readonly string[] {
  return (localAddress, material) => {
    const who = identityOf(settings, instance, localAddress)
    const proof = held === null ? null : identityHeader(held, { ...who, protocol }, material)
    return identityHeaders(who, key, proof)
  }
}

function identityOf(settings: ConnectorSettings, instance: string, localAddress: string): Identity {
  const { name, version, services, realAddress } = settings
  return { name, version, services, instance, realAddress: realAddress ?? localAddress }
}
