// The single checks of diagnose --probe. Each is bounded in time and in what it reads, follows no redirect and sends no secret.
import { createSocket } from 'node:dgram'
import { lookup } from 'node:dns/promises'
import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, type PeerCertificate, type TLSSocket } from 'node:tls'
import { once } from 'node:events'
import type { ProbeStep } from '../diagnose/probe-comparison.ts'
import { escapeControls } from '../journal/redact.ts'
import type { TlsVersion } from '../net/tls-version.ts'

/** Longest time of one check. */
const STEP_MS = 5_000
const MAX_ANSWER = 16_384
const DAY_MS = 86_400_000

/** Where to. */
export type ProbeTarget = {
  readonly host: string
  readonly port: number
  readonly path: string
  /** Connect here whatever the name says; null: where the name leads. */
  readonly at: string | null
  /** Address of this machine to connect from; null: as the system chooses. */
  readonly bind: string | null
  /** PEM text of authorities to trust besides the public ones; null: none. */
  readonly ca: string | null
}

/** What a check found. `ok` null: it cannot tell. */
export type StepResult = Omit<ProbeStep, 'hop' | 'what'>

/** Addresses of the name. */
export async function resolveName(
  target: ProbeTarget,
): Promise<StepResult & { readonly addresses: readonly string[] }> {
  const { host, at } = target
  if (at !== null) return { ok: true, saw: `not asked: connecting to ${at}`, addresses: [at] }
  if (isIP(host) !== 0) return { ok: true, saw: 'an address, no name', addresses: [host] }
  try {
    const found = await withTimeout(lookup(host, { all: true }), STEP_MS)
    const addresses = [...new Set(found.map(entry => entry.address))].slice(0, 4)
    return { ok: addresses.length > 0, saw: addresses.join(', '), addresses }
  } catch (error) {
    return { ok: false, saw: wordsOf(error), addresses: [] }
  }
}

/** A TCP connection. */
export async function reachPort(target: ProbeTarget, address: string, port: number): Promise<StepResult> {
  const startedMs = performance.now()
  let socket: Socket | undefined
  try {
    socket = await openTcp(target, address, port)
    const ms = Math.round(performance.now() - startedMs)
    return { ok: true, saw: `${address} port ${port} in ${ms} ms`, ms }
  } catch (error) {
    return { ok: false, saw: `${address} port ${port}: ${wordsOf(error)}` }
  } finally {
    socket?.destroy()
  }
}

/** A handshake with exactly one TLS version. What the gate refuses it refuses with an alert. */
export async function shakeHands(
  target: ProbeTarget,
  address: string,
  version: TlsVersion,
): Promise<StepResult> {
  let socket: TLSSocket | undefined
  try {
    socket = await openTls(target, address, version)
    return { ok: true, saw: `${socket.getProtocol() ?? ''} ${socket.getCipher().name}` }
  } catch (error) {
    return { ok: false, saw: wordsOf(error) }
  } finally {
    socket?.destroy()
  }
}

/** The certificate that arrives here: trusted, for this name, and for how long. */
export async function lookAtCertificate(
  target: ProbeTarget,
  address: string,
  nowMs: number,
): Promise<StepResult> {
  let socket: TLSSocket | undefined
  try {
    socket = await openTls(target, address, null)
    const certificate: Partial<PeerCertificate> = socket.getPeerCertificate()
    const endsMs = Date.parse(certificate.valid_to ?? '')
    const days = Math.floor((endsMs - nowMs) / DAY_MS)
    const issuer = escapeControls(String(certificate.issuer?.O ?? certificate.issuer?.CN ?? 'unknown'))
    const about = `issued by ${issuer}, ${days < 0 ? `ended ${-days} days ago` : `${days} days left`}`
    const sha256 = certificate.fingerprint256
    const seen = sha256 === undefined ? {} : { sha256 }
    if (socket.authorized && days >= 0) return { ok: true, saw: about, ...seen }
    const why = socket.authorized ? 'ended' : String(socket.authorizationError)
    return { ok: false, saw: `${untrusted(why, socket)}; ${about}`, ...seen }
  } catch (error) {
    return { ok: false, saw: wordsOf(error) }
  } finally {
    socket?.destroy()
  }
}

/** Why it is not trusted. A chain that ends at the certificate itself has a gap, or belongs to an authority of its own. */
function untrusted(why: string, socket: TLSSocket): string {
  const words = CERTIFICATE_WORDS[why] ?? escapeControls(why)
  if (why !== 'UNABLE_TO_VERIFY_LEAF_SIGNATURE') return words
  // Public authorities say where their own certificate lies (RFC 5280, section 4.2.2.1), and never sign with the root itself.
  const info = socket.getPeerCertificate(true).infoAccess
  return info !== undefined && 'CA Issuers - URI' in info
    ? 'the chain is not complete: the gate sends its certificate without the intermediate one that signed it'
    : words
}

const CERTIFICATE_WORDS: Readonly<Record<string, string>> = {
  ended: 'it has ended by the clock of this machine',
  CERT_HAS_EXPIRED: 'it has ended',
  CERT_NOT_YET_VALID: 'it is not valid yet by the clock of this machine',
  ERR_TLS_CERT_ALTNAME_INVALID: 'it is for another name',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'the authority that signed it is unknown to this machine, or an intermediate certificate is missing in the chain',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its authority is unknown to this machine',
  SELF_SIGNED_CERT_IN_CHAIN: 'its authority is a private one',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'it is signed by itself',
}

/** One request. A refusal of the gate carries a reference, which is shown. */
export async function askHttp(target: ProbeTarget, address: string): Promise<StepResult> {
  let socket: TLSSocket | undefined
  try {
    socket = await openTls(target, address, null)
    const { host, path } = target
    const startedMs = performance.now()
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: portcullis-probe\r\nAccept: application/json\r\nConnection: close\r\n\r\n`,
    )
    const { answer, firstMs } = await readAll(socket)
    const ms = Math.round(firstMs - startedMs)
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(answer)?.[1])
    if (!Number.isInteger(status)) return { ok: false, saw: 'no HTTP answer' }
    const reference = /[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{3}/.exec(answer)?.[0]
    const words = `status ${status} for ${path} in ${ms} ms${reference === undefined ? '' : `, reference ${reference}`}`
    return { ok: status < 400 || (status === 404 && reference === undefined), saw: words, ms }
  } catch (error) {
    return { ok: false, saw: wordsOf(error) }
  } finally {
    socket?.destroy()
  }
}

/** A datagram, and whether anything answers. Silence proves nothing: servers answer only what they know. */
export async function beat(target: ProbeTarget, address: string, port: number): Promise<StepResult> {
  const socket = createSocket(isIP(address) === 6 ? 'udp6' : 'udp4')
  try {
    if (target.bind !== null) socket.bind(0, target.bind)
    else socket.bind()
    await once(socket, 'listening')
    const answered = once(socket, 'message').then(() => 'answered' as const)
    const broken = once(socket, 'error').then(([error]) => Promise.reject(error as Error))
    socket.send('PORTCULLIS PROBE', port, address)
    await withTimeout(Promise.race([answered, broken]), STEP_MS / 2)
    return { ok: true, saw: `UDP port ${port} answered` }
  } catch (error) {
    const words = wordsOf(error)
    return words === TIMED_OUT
      ? { ok: null, saw: `UDP port ${port} did not answer; servers often answer real heartbeats only` }
      : { ok: false, saw: `UDP port ${port}: ${words}` }
  } finally {
    socket.close()
  }
}

async function openTcp({ bind }: ProbeTarget, address: string, port: number): Promise<Socket> {
  const socket = connectTcp({ host: address, port, ...(bind === null ? {} : { localAddress: bind }) })
  return opened(socket, 'connect')
}

async function openTls(target: ProbeTarget, address: string, version: TlsVersion | null): Promise<TLSSocket> {
  const raw = await openTcp(target, address, target.port)
  const old = version === 'TLSv1' || version === 'TLSv1.1'
  const socket = connectTls({
    socket: raw,
    ...(isIP(target.host) === 0 ? { servername: target.host } : {}),
    host: target.host,
    // The certificate is looked at, not believed: nothing but a path is sent over this connection.
    rejectUnauthorized: false,
    ...(target.ca === null ? {} : { ca: target.ca }),
    ...(version === null ? {} : { minVersion: version, maxVersion: version }),
    ...(old ? { ciphers: 'DEFAULT:@SECLEVEL=0' } : {}),
  })
  try {
    return await opened(socket, 'secureConnect')
  } catch (error) {
    raw.destroy()
    throw error
  }
}

async function opened<S extends Socket>(socket: S, event: string): Promise<S> {
  const closed = once(socket, 'close').then(() => Promise.reject(new Error('the connection was closed')))
  closed.catch(() => undefined)
  try {
    await withTimeout(Promise.race([once(socket, event), closed]), STEP_MS)
    socket.on('error', () => undefined)
    return socket
  } catch (error) {
    socket.on('error', () => undefined)
    socket.destroy()
    throw error
  }
}

async function readAll(socket: TLSSocket): Promise<{ readonly answer: string; readonly firstMs: number }> {
  let answer = ''
  let firstMs: number | null = null
  const done = new Promise<void>(resolve => {
    socket.on('data', (chunk: Buffer) => {
      firstMs ??= performance.now()
      answer += chunk.toString('latin1')
      if (answer.length > MAX_ANSWER) resolve()
    })
    socket.once('close', () => resolve())
    socket.once('end', () => resolve())
  })
  await withTimeout(done, STEP_MS)
  return { answer, firstMs: firstMs ?? performance.now() }
}

const TIMED_OUT = 'no answer in time'

async function withTimeout<T>(work: Promise<T>, ms: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(TIMED_OUT)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

const CODES: Readonly<Record<string, string>> = {
  ENOTFOUND: 'the name does not exist',
  EAI_AGAIN: 'no name server answers',
  ECONNREFUSED: 'refused: nothing listens there',
  ECONNRESET: 'the connection was reset',
  EHOSTUNREACH: 'no way there',
  ENETUNREACH: 'no way there',
  ETIMEDOUT: TIMED_OUT,
  EADDRNOTAVAIL: 'this machine has no such address',
}

const ALERTS: readonly (readonly [RegExp, string])[] = [
  [/protocol.version|unsupported protocol|version too low/i, 'refused: this TLS version is not taken'],
  [/access denied/i, 'refused: access denied (country, ban or limit: ask the gate with bin/diagnose)'],
  [/unrecognized.name/i, 'refused: the gate does not serve this name'],
  [/handshake failure/i, 'refused: no cipher in common'],
  [/wrong version number|packet length/i, 'what answers does not speak TLS'],
  [/no protocols available/i, 'not tried: this machine cannot speak it'],
  [/no ciphers available/i, 'not tried: this machine cannot speak it'],
]

function wordsOf(error: unknown): string {
  const { code, message } = error as { readonly code?: unknown; readonly message?: unknown }
  const text = String(message ?? error)
  const alert = ALERTS.find(([looksLike]) => looksLike.test(text))
  if (alert !== undefined) return alert[1]
  const known = typeof code === 'string' ? CODES[code] : undefined
  return known ?? escapeControls(text.slice(0, 160))
}
