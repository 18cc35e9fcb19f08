// Which service of a listener a client means: by its first bytes, by its ClientHello.
import { bestOffered, decideStreamHello, decideStreamService } from '../../policy/decide-stream.ts'
import type { TlsProfileName } from '../../policy/snapshot.ts'
import { BUILT_IN } from '../../policy/source-line.ts'
import type { StreamListener, StreamService } from '../../policy/streams.ts'
import type { Refusal } from '../../policy/verdict.ts'
import { helloFacts } from '../client-hello.ts'
import { refusal } from '../connection-report.ts'
import { readOpening, type AnswerForm } from '../opening.ts'
import { sniff, sniffAtEnd } from './sniff.ts'
import type { StreamContext } from './stream-context.ts'
import type { StreamReport } from './stream-report.ts'

/** Nothing can be said, or the client can be told by TLS or HTTP. */
export const NO_ANSWER: AnswerForm = { kind: 'none' }
const HTTP_ANSWER: AnswerForm = { kind: 'http' }

/** What the first bytes come to. */
export type Choice =
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'service'; readonly service: StreamService }
  /** The ClientHello decides among these. */
  | { readonly kind: 'hello'; readonly services: readonly StreamService[] }
  | { readonly kind: 'edge'; readonly listener: string }
  | { readonly kind: 'refused'; readonly refusal: Refusal; readonly answer: AnswerForm }

const WORDS = {
  tls: 'TLS',
  http: 'plain HTTP',
  netsupport: 'the clear HTTP of a NetSupport client',
  bytes: 'bytes of a signature',
  binary: 'neither TLS nor HTTP',
} as const

/** Chooses on a mixed listener. @param isAtEnd no more bytes are waited for */
export function chooseByFirstBytes(bytes: Uint8Array, listener: StreamListener, isAtEnd: boolean): Choice {
  const { services } = listener
  const sniffed = sniff(bytes, services)
  if (sniffed.kind === 'bytes') return { kind: 'service', service: sniffed.service }
  const kind = sniffed.kind === 'incomplete' && isAtEnd ? sniffAtEnd(bytes) : sniffed.kind
  if (kind === 'incomplete') return { kind }
  const meant = services.filter(entry => entry.start === kind)
  const [service] = meant
  if (service === undefined) {
    const reason = kind === 'netsupport' ? 'netsupport-elsewhere' : 'service-unknown'
    return { kind: 'refused', refusal: refusal(reason, WORDS[kind], listener.at), answer: answerTo(kind) }
  }
  if (kind !== 'tls') return { kind: 'service', service }
  if (meant.length === 1 && service.names.length === 0 && service.action.kind === 'edge')
    return { kind: 'edge', listener: service.action.listener }
  return { kind: 'hello', services: meant }
}

/** How a client that began so can be told why it is refused. */
export function answerTo(start: StreamService['start']): AnswerForm {
  return start === 'http' || start === 'netsupport' ? HTTP_ANSWER : NO_ANSWER
}

/** What a ClientHello comes to. */
export type HelloChoice =
  | Exclude<Choice, { kind: 'hello' | 'service' }>
  | {
      readonly kind: 'service'
      readonly service: StreamService
      /** Null: TLS is passed through. */
      readonly tlsProfile: TlsProfileName | null
    }

/** Chooses by the ClientHello, and asks whether the class is open to the TLS version that it offers. */
export function chooseByHello(
  bytes: Uint8Array,
  services: readonly StreamService[],
  listener: StreamListener,
  report: StreamReport,
  context: StreamContext,
): HelloChoice {
  const standing = report.whoever()
  const opening = readOpening(bytes, standing.snapshot.limits.helloBytes)
  if (opening.kind === 'incomplete') return { kind: 'incomplete' }
  if (opening.kind === 'refused') {
    const isOurs = opening.reason === 'plaintext-on-tls' || opening.reason === 'netsupport-elsewhere'
    const found = refusal(opening.reason, opening.saw, isOurs ? listener.at : BUILT_IN)
    return { kind: 'refused', refusal: found, answer: opening.answer }
  }
  const hello = helloFacts(opening.hello, context.ja4(opening.hello))
  report.hello = hello
  const answer: AnswerForm = { kind: 'alert', version: opening.hello.legacyVersion }
  const nowMs = context.nowMs()
  const verdict = decideStreamHello(standing, listener, services, hello, nowMs)
  report.detected(verdict.hits)
  if (!verdict.allow) return { kind: 'refused', refusal: verdict.refusal, answer }
  const { service } = verdict
  if (service.action.kind === 'edge') return { kind: 'edge', listener: service.action.listener }
  report.service = service
  report.tried(verdict.wouldBe)
  const openOfClass = context.counters.ofClass(service.class, report.address)
  const access = decideStreamService(standing, {
    service,
    listener: listener.id,
    openOfClass,
    tlsVersion: bestOffered(hello),
    nowMs,
  })
  report.tried(access.wouldBe)
  return access.refusal === null
    ? { kind: 'service', service, tlsProfile: verdict.tlsProfile }
    : { kind: 'refused', refusal: access.refusal, answer }
}
