// What a connector reports, in sentences for people and fields for programs.
import type { DialFailure } from './dial.ts'

/** One event. */
export type ConnectorEvent =
  | { readonly event: 'connector.started'; readonly name: string; readonly gates: readonly string[] }
  | { readonly event: 'connector.stopped' }
  /** The file was made just now. */
  | { readonly event: 'identity.made'; readonly file: string; readonly identity: string }
  /** `used`: it is used all the same. */
  | {
      readonly event: 'identity.trouble'
      readonly file: string
      readonly problem: string
      readonly used: boolean
    }
  | { readonly event: 'gate.attached'; readonly gate: string; readonly services: readonly string[] }
  /** Lost against its will. */
  | { readonly event: 'gate.lost'; readonly gate: string; readonly why: string }
  /** Left for a better one. */
  | { readonly event: 'gate.left'; readonly gate: string; readonly why: string }
  | {
      readonly event: 'gate.unreachable'
      readonly gate: string
      readonly kind: DialFailure['kind']
      readonly code: string
      readonly problem: string
      readonly remedy: string
    }
  /** A gate that is not needed yet would let it in. */
  | { readonly event: 'standby.ready'; readonly gate: string }
  /** A gate that is not needed yet would not, so it would be of no use when the one before it fails. */
  | {
      readonly event: 'standby.unready'
      readonly gate: string
      readonly kind: DialFailure['kind']
      readonly code: string
      readonly problem: string
      readonly remedy: string
    }
  | { readonly event: 'service.unreachable'; readonly service: string; readonly problem: string }
  | { readonly event: 'service.reached'; readonly service: string }
  /** UDP sources that were refused since the last report. */
  | { readonly event: 'service.full'; readonly service: string; readonly sources: number }
  /** Not one TCP service answers. The tunnel stays. */
  | { readonly event: 'services.silent'; readonly problem: string }

/** How loud an event is. */
export function levelOf({ event }: ConnectorEvent): 'info' | 'warning' {
  return TROUBLE.has(event) ? 'warning' : 'info'
}

const TROUBLE: ReadonlySet<ConnectorEvent['event']> = new Set([
  'identity.trouble',
  'gate.lost',
  'gate.unreachable',
  'standby.unready',
  'service.unreachable',
  'service.full',
  'services.silent',
])

/** The event as a sentence. */
export function sentenceOf(entry: ConnectorEvent): string {
  switch (entry.event) {
    case 'connector.started':
      return `Connector ${entry.name} started; ${entry.gates.length === 1 ? 'its gate is' : 'its gates are'} ${entry.gates.join(', ')}.`
    case 'connector.stopped':
      return 'Connector stopped.'
    case 'identity.made':
      return `This connector has an identity from now on: ${entry.identity}, in ${entry.file}. Keep the file when it moves; gates know it again by it.`
    case 'identity.trouble':
      return `The identity file ${entry.file}: ${entry.problem}. ${entry.used ? 'It is used all the same.' : 'This connector shows no identity; gates that know it with one refuse it.'}`
    case 'gate.attached':
      return `Attached to ${entry.gate}; offers ${entry.services.join(', ') || 'nothing'}.`
    case 'gate.lost':
      return `Lost ${entry.gate}: ${entry.why}. Trying again.`
    case 'gate.left':
      return `Left ${entry.gate}: a better gate has been attached long enough.`
    case 'gate.unreachable':
      return `No way to ${entry.gate}: ${entry.problem.replace(/\.$/, '')}. ${entry.remedy}`
    case 'standby.ready':
      return `${entry.gate} stands by: it would let this connector in.`
    case 'standby.unready':
      return `${entry.gate} would be of no use as standby now: ${entry.problem.replace(/\.$/, '')}. ${entry.remedy}`
    case 'service.unreachable':
      return `Service ${entry.service} does not answer at ${entry.problem}. The tunnel stays; start the service or correct its address.`
    case 'service.reached':
      return `Service ${entry.service} answers again.`
    case 'service.full':
      return `Service ${entry.service} has as many sources as it may; ${entry.sources} were refused. Raise its sources.`
    case 'services.silent':
      return `No service answers (${entry.problem}). The tunnel stays: is the RMM server running?`
  }
}
