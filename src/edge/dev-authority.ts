// The development authority: makes certificates for names that have none, so that a first start and the demo work at once.
import { createPrivateKey, webcrypto, X509Certificate } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type * as PeculiarX509 from '@peculiar/x509'
import type { CertificateFiles } from './certificate-files.ts'
import { createTurns } from './turns.ts'

/** Issues development certificates. Clients that are to trust them load `authorityFile`. */
export type DevAuthority = {
  readonly authorityFile: string
  /** Files of an ECDSA and an RSA certificate for the host; made, or made anew when they end within 30 days. */
  readonly filesFor: (host: string) => Promise<readonly CertificateFiles[]>
}

type Keys = webcrypto.CryptoKeyPair
type X509 = typeof PeculiarX509
type Issuer = { readonly x509: X509; readonly name: string; readonly key: webcrypto.CryptoKey }

const DAY_MS = 86_400_000
const RENEW_BEFORE_MS = 30 * DAY_MS
const NAME = 'CN=Portcullis development authority'
const ECDSA = { name: 'ECDSA', namedCurve: 'P-256' } as const
const RSA = {
  name: 'RSASSA-PKCS1-v1_5',
  modulusLength: 2048,
  publicExponent: new Uint8Array([1, 0, 1]),
  hash: 'SHA-256',
} as const

/**
 * Opens the authority in `<certs>/development`. Nothing is made before the first `filesFor`.
 * @param nowMs clock, milliseconds since the epoch
 */
export function createDevAuthority(certsDirectory: string, nowMs: () => number): DevAuthority {
  const directory = join(certsDirectory, 'development')
  const authorityFile = join(directory, 'authority.crt')
  let issuer: Promise<Issuer> | undefined
  const inTurn = createTurns()

  const make = async (host: string): Promise<readonly CertificateFiles[]> => {
    const files = (['ecdsa', 'rsa'] as const).map(type => {
      const base = join(directory, `${host.replaceAll('*', '_')}.${type}`)
      return { type, certFile: `${base}.crt`, keyFile: `${base}.key` }
    })
    for (const file of files) {
      if (await isFresh(file, authorityFile, nowMs())) continue
      issuer ??= openIssuer(directory, authorityFile, nowMs())
      issuer.catch(() => (issuer = undefined))
      await issueLeaf(await issuer, host, file.type === 'rsa' ? RSA : ECDSA, file, nowMs())
    }
    return files.map(({ certFile, keyFile }) => ({ certFile, keyFile }))
  }

  return {
    authorityFile,
    filesFor: host => inTurn(() => make(host)),
  }
}

async function isFresh(files: CertificateFiles, authorityFile: string, nowMs: number): Promise<boolean> {
  try {
    const leaf = new X509Certificate(await readFile(files.certFile))
    const authority = new X509Certificate(await readFile(authorityFile))
    return (
      Date.parse(leaf.validTo) - nowMs > RENEW_BEFORE_MS &&
      leaf.checkPrivateKey(createPrivateKey(await readFile(files.keyFile))) &&
      leaf.verify(authority.publicKey)
    )
  } catch {
    return false
  }
}

async function openIssuer(directory: string, certFile: string, nowMs: number): Promise<Issuer> {
  // Loaded on demand: a gate with real certificates never pays for it.
  await import('reflect-metadata')
  const x509 = await import('@peculiar/x509')
  x509.cryptoProvider.set(webcrypto as never)
  const keyFile = join(directory, 'authority.key')
  const found = await readIssuer(x509, certFile, keyFile, nowMs)
  if (found !== undefined) return found

  await mkdir(directory, { recursive: true, mode: 0o755 })
  const keys = await generate(ECDSA)
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: NAME,
    notBefore: new Date(nowMs - DAY_MS),
    notAfter: new Date(nowMs + 3_650 * DAY_MS),
    keys,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  })
  await writeKey(keyFile, keys.privateKey)
  await writeWhole(certFile, `${certificate.toString('pem')}\n`, 0o644)
  return { x509, name: certificate.subject, key: keys.privateKey }
}

async function readIssuer(
  x509: X509,
  certFile: string,
  keyFile: string,
  nowMs: number,
): Promise<Issuer | undefined> {
  try {
    const certificate = new x509.X509Certificate(await readFile(certFile, 'latin1'))
    if (certificate.notAfter.getTime() - nowMs < 400 * DAY_MS) return undefined
    const der = x509.PemConverter.decodeFirst(await readFile(keyFile, 'latin1'))
    const key = await webcrypto.subtle.importKey('pkcs8', der, ECDSA, false, ['sign'])
    return { x509, name: certificate.subject, key }
  } catch {
    return undefined
  }
}

async function issueLeaf(
  issuer: Issuer,
  host: string,
  algorithm: typeof ECDSA | typeof RSA,
  files: CertificateFiles,
  nowMs: number,
): Promise<void> {
  const { x509 } = issuer
  const keys = await generate(algorithm)
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: 'CN=Portcullis development certificate',
    issuer: issuer.name,
    notBefore: new Date(nowMs - DAY_MS),
    notAfter: new Date(nowMs + 397 * DAY_MS),
    publicKey: keys.publicKey,
    signingKey: issuer.key,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension([
        { type: /^[0-9.]+$|:/.test(host) ? 'ip' : 'dns', value: host },
      ]),
    ],
  })
  await writeKey(files.keyFile, keys.privateKey)
  await writeWhole(files.certFile, `${certificate.toString('pem')}\n`, 0o644)
}

function generate(algorithm: typeof ECDSA | typeof RSA): Promise<Keys> {
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']) as Promise<Keys>
}

function serial(): string {
  // The first octet stays below 0x80, so that the number is positive in every parser.
  return `01${Buffer.from(webcrypto.getRandomValues(new Uint8Array(15))).toString('hex')}`
}

async function writeKey(file: string, key: webcrypto.CryptoKey): Promise<void> {
  const base64 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64')
  const lines = base64.match(/.{1,64}/g) ?? []
  await writeWhole(
    file,
    `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`,
    0o600,
  )
}

async function writeWhole(file: string, text: string, mode: number): Promise<void> {
  const part = `${file}.tmp`
  await writeFile(part, text, { mode })
  await rename(part, file)
}
