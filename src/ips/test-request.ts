// Builds the request, ClientHello and messages that a test of a rule describes, as the edge would see them.
import type { HeaderView, HelloFacts, RequestFacts } from '../policy/facts.ts'
import { TLS_VERSIONS } from '../net/tls-version.ts'
import { MAX_EARLIER, type MessageFacts } from './parts/inspected.ts'
import type { RuleTestHello, RuleTestPart, RuleTestRequest } from './rule-document.ts'
import { normaliseTarget } from './target.ts'

/** A request of a test. */
export type TestRequest = { readonly facts: RequestFacts; readonly body: Uint8Array | null }

/**
 * The request of a test.
 * @param line method and target
 * @returns undefined when the gate refuses it before rules are asked
 */
export function requestOf(test: RuleTestRequest, line: string): TestRequest | undefined {
  const space = line.indexOf(' ')
  const method = line.slice(0, space)
  const sent = line.slice(space + 1).trim()
  // A fragment never reaches a server.
  const target = sent.split('#', 1)[0] ?? sent
  const normal = normaliseTarget(target)
  if (space < 1 || normal === undefined) return undefined
  const host = test.host ?? 'rmm.example.com'
  const headers = new Map<string, string>([['host', host]])
  const body = bodyOf(test)
  if (body !== null) {
    headers.set('content-type', body.type)
    headers.set('content-length', String(body.bytes.length))
  }
  for (const [name, value] of Object.entries(test.headers ?? {})) headers.set(name.toLowerCase(), value)
  const facts = {
    method,
    host: host.toLowerCase(),
    target,
    ...normal,
    headers: headerView(headers),
    webSocket: test.webSocket ?? test.messages !== undefined,
    nowMs: 0,
  }
  return { facts, body: body?.bytes ?? null }
}

/** The ClientHello of a test; what it does not say is that of an ordinary client. */
export function helloOf({ ja4, alpn, versions, serverName, ciphers }: RuleTestHello): HelloFacts {
  return {
    serverName: serverName === undefined ? 'rmm.example.com' : serverName,
    versions: TLS_VERSIONS.filter(version => versions?.includes(version) ?? version !== 'TLSv1.1'),
    alpn: alpn ?? ['http/1.1'],
    ja4: ja4 ?? 't13d1516h1_8daaf6152771_02713d6af862',
    cipherCount: ciphers ?? 15,
  }
}

/** The messages of a test. */
export function messagesOf({ messages = [] }: RuleTestRequest): readonly MessageFacts[] {
  let earlier = ''
  return messages.map((message, index) => {
    const text = byteString(typeof message === 'string' ? utf8(message) : fromBase64(message.base64))
    const facts: MessageFacts = {
      number: index + 1,
      kind: typeof message === 'string' ? 'text' : 'binary',
      text,
      complete: true,
      earlier,
    }
    earlier = (earlier + text).slice(0, MAX_EARLIER)
    return facts
  })
}

type TestBody = { readonly bytes: Uint8Array; readonly type: string }

function bodyOf(test: RuleTestRequest): TestBody | null {
  const { form, json, xml, multipart, base64Body, body } = test
  if (form !== undefined) {
    const text = new URLSearchParams({ ...form }).toString()
    return { bytes: utf8(text), type: 'application/x-www-form-urlencoded' }
  }
  if (json !== undefined) return { bytes: utf8(JSON.stringify(json)), type: 'application/json' }
  if (xml !== undefined) return { bytes: utf8(xml), type: 'text/xml' }
  if (multipart !== undefined) return multipartBody(multipart)
  if (base64Body !== undefined) return { bytes: fromBase64(base64Body), type: 'application/octet-stream' }
  return body === undefined ? null : { bytes: utf8(body), type: 'text/plain' }
}

const BOUNDARY = 'portcullis-test-boundary'

function multipartBody(parts: readonly RuleTestPart[]): TestBody {
  const chunks: Uint8Array[] = []
  for (const { name, fileName, type, content, base64 } of parts) {
    const file = fileName === undefined ? '' : `; filename="${fileName}"`
    const typeLine = type === undefined ? '' : `Content-Type: ${type}\r\n`
    const head = `--${BOUNDARY}\r\nContent-Disposition: form-data; name="${name}"${file}\r\n${typeLine}\r\n`
    chunks.push(utf8(head), base64 === undefined ? utf8(content ?? '') : fromBase64(base64), utf8('\r\n'))
  }
  chunks.push(utf8(`--${BOUNDARY}--\r\n`))
  const bytes = new Uint8Array(chunks.reduce((total, chunk) => total + chunk.length, 0))
  let at = 0
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.length
  }
  return { bytes, type: `multipart/form-data; boundary=${BOUNDARY}` }
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}

function fromBase64(text: string): Uint8Array {
  return Uint8Array.from(atob(text.replaceAll(/\s/g, '')), char => char.charCodeAt(0))
}

function byteString(bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += String.fromCharCode(byte)
  return text
}

function headerView(headers: ReadonlyMap<string, string>): HeaderView {
  return { get: name => headers.get(name), raw: [...headers].flat() }
}
