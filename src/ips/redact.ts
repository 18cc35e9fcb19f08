// Keeps secrets out of what rule hits report: logs of protection rules are a credential store otherwise.
import { withoutSecrets } from './secret-text.ts'

const SECRET_NAME =
  /auth|token|secret|passw|pwd|\bpass\b|api-?_?key|session|credential|cookie|signature|viewstate|private|otp\b|^pin$|^key$/

const MAX_VALUE = 120
const CONTEXT = 4096
const REDACTED = '[redacted]'

/** Whether the value of an argument, header or cookie of this name must never be shown. */
export function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name)
}

/**
 * The part of a value around a match that may be shown: at most 120 characters, secrets redacted, control characters escaped.
 * `length` 0 shows the beginning.
 */
export function showValue(value: string, at: number, length: number, secret: boolean): string {
  if (secret) return REDACTED
  const matched = value.slice(at, at + Math.min(length, MAX_VALUE))
  // Far more than is shown, so that the name of a long secret is still in sight, and bounded, because hits can be provoked.
  const seen = value.slice(Math.max(0, at - CONTEXT), at + CONTEXT)
  const redacted = withoutSecrets(seen, REDACTED)
  // Redaction moves text; a match that is gone was itself a secret.
  const place = redacted === seen ? Math.min(at, CONTEXT) : redacted.indexOf(matched)
  if (place < 0) return REDACTED
  const room = Math.max(0, MAX_VALUE - Math.min(length, MAX_VALUE))
  const start = Math.max(0, place - Math.floor(room / 2))
  return redacted.slice(start, start + MAX_VALUE).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, '\u00b7')
}
