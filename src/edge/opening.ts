// PURE: what the first bytes of a client amount to: a ClientHello, a reason to refuse, or not enough yet.
import { REASONS, type Reason } from '../policy/reasons.ts'
import { readClientHello, type ParsedHello } from './client-hello.ts'
import { namePlaintext, plainHttpAnswer } from './plaintext.ts'
import { tlsAlertRecord } from './tls-alert.ts'

/** How a refusal can be put to the client: an alert in this TLS version, plain HTTP, or not at all. */
export type AnswerForm =
  { readonly kind: 'alert'; readonly version: number } | { readonly kind: 'http' } | { readonly kind: 'none' }

/** The meaning of the first bytes. Every answer but `incomplete` is final. */
export type Opening =
  | { readonly kind: 'incomplete' }
  | { readonly kind: 'hello'; readonly hello: ParsedHello }
  | {
      readonly kind: 'refused'
      readonly reason: Extract<
        Reason,
        'hello-invalid' | 'hello-too-large' | 'plaintext-on-tls' | 'netsupport-elsewhere'
      >
      readonly saw: string
      readonly answer: AnswerForm
    }

/** Reads the first bytes of a client (after any PROXY header). */
export function readOpening(bytes: Uint8Array, maxHelloBytes: number): Opening {
  const read = readClientHello(bytes, maxHelloBytes)
  switch (read.kind) {
    case 'incomplete':
    case 'hello':
      return read
    case 'invalid':
      return { kind: 'refused', reason: 'hello-invalid', saw: read.problem, answer: TLS_1_2 }
    case 'too-large':
      return { kind: 'refused', reason: 'hello-too-large', saw: read.problem, answer: TLS_1_2 }
    case 'plaintext': {
      const named = namePlaintext(bytes)
      if (named.kind === 'incomplete') return named
      if (named.kind === 'http' && named.netSupport) {
        const saw = 'the clear HTTP of a NetSupport client'
        return { kind: 'refused', reason: 'netsupport-elsewhere', saw, answer: { kind: 'http' } }
      }
      return named.kind === 'http'
        ? { kind: 'refused', reason: 'plaintext-on-tls', saw: 'plain HTTP', answer: { kind: 'http' } }
        : { kind: 'refused', reason: 'plaintext-on-tls', saw: named.what, answer: { kind: 'none' } }
    }
  }
}

const TLS_1_2: AnswerForm = { kind: 'alert', version: 0x0303 }

/** What the client is told of a refusal before its handshake: an alert, plain HTTP, or nothing. */
export function lastWordsOf(
  reason: Reason,
  answer: AnswerForm,
  reference: string,
): Uint8Array | string | null {
  const { alert, status, because } = REASONS[reason]
  if (answer.kind === 'http') return plainHttpAnswer(reason, status ?? 403, because, reference)
  return answer.kind === 'alert' && alert !== undefined ? tlsAlertRecord(alert, answer.version) : null
}
