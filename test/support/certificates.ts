// Test certificates: one authority per test process and leaf certificates for any names, made in memory.
import 'reflect-metadata'
import { webcrypto } from 'node:crypto'
import * as x509 from '@peculiar/x509'

/** A certificate with its key, both PEM. */
export type TestCertificate = { readonly cert: string; readonly key: string }

const DAY_MS = 86_400_000
let authority: Promise<{ certificate: x509.X509Certificate; keys: webcrypto.CryptoKeyPair }> | undefined

/** PEM of the authority that signs every certificate of this process. */
export async function testAuthority(): Promise<string> {
  return (await theAuthority()).certificate.toString('pem')
}

/** Makes a leaf certificate for the names. */
export async function testCertificate(
  names: readonly string[],
  options: { readonly type?: 'ecdsa' | 'rsa'; readonly days?: number } = {},
): Promise<TestCertificate> {
  const { certificate: issuer, keys: issuerKeys } = await theAuthority()
  const type = options.type ?? 'ecdsa'
  const keys = await generateKeys(type)
  const now = Date.now()
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: Buffer.from(webcrypto.getRandomValues(new Uint8Array(8))).toString('hex'),
    subject: `CN=${names[0] ?? 'test'}`,
    issuer: issuer.subject,
    notBefore: new Date(now - DAY_MS * 2),
    notAfter: new Date(now + DAY_MS * (options.days ?? 30)),
    publicKey: keys.publicKey,
    signingKey: issuerKeys.privateKey,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new x509.SubjectAlternativeNameExtension(
        names.map(value => ({ type: /^[0-9.]+$|:/.test(value) ? 'ip' : 'dns', value }) as const),
      ),
    ],
  })
  return { cert: certificate.toString('pem'), key: await exportKey(keys.privateKey) }
}

/** A chain of three as public authorities have it: the certificate names the place of its issuer's. All PEM. */
export async function testChain(
  name: string,
): Promise<TestCertificate & { readonly root: string; readonly intermediate: string }> {
  const { certificate: root, keys: rootKeys } = await theAuthority()
  const [middleKeys, keys] = [await generateKeys('ecdsa'), await generateKeys('ecdsa')]
  const times = { notBefore: new Date(Date.now() - DAY_MS), notAfter: new Date(Date.now() + DAY_MS * 30) }
  const signingAlgorithm = { name: 'ECDSA', hash: 'SHA-256' }
  const middle = await x509.X509CertificateGenerator.create({
    ...times,
    signingAlgorithm,
    serialNumber: '02',
    subject: 'CN=Test intermediate',
    issuer: root.subject,
    publicKey: middleKeys.publicKey,
    signingKey: rootKeys.privateKey,
    extensions: [new x509.BasicConstraintsExtension(true, 0, true)],
  })
  const leaf = await x509.X509CertificateGenerator.create({
    ...times,
    signingAlgorithm,
    serialNumber: '03',
    subject: `CN=${name}`,
    issuer: middle.subject,
    publicKey: keys.publicKey,
    signingKey: middleKeys.privateKey,
    extensions: [
      new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: name }]),
      new x509.AuthorityInfoAccessExtension({ caIssuers: 'http://ca.example.test/intermediate.crt' }),
    ],
  })
  return {
    root: root.toString('pem'),
    intermediate: middle.toString('pem'),
    cert: leaf.toString('pem'),
    key: await exportKey(keys.privateKey),
  }
}

function theAuthority(): Promise<{ certificate: x509.X509Certificate; keys: webcrypto.CryptoKeyPair }> {
  return (authority ??= makeAuthority())
}

async function makeAuthority(): Promise<{
  certificate: x509.X509Certificate
  keys: webcrypto.CryptoKeyPair
}> {
  x509.cryptoProvider.set(webcrypto as never)
  const keys = await generateKeys('ecdsa')
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: 'CN=Portcullis test authority',
    notBefore: new Date(Date.now() - DAY_MS * 3),
    notAfter: new Date(Date.now() + DAY_MS * 365),
    keys,
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    extensions: [
      new x509.BasicConstraintsExtension(true, 1, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
    ],
  })
  return { certificate, keys }
}

function generateKeys(type: 'ecdsa' | 'rsa'): Promise<webcrypto.CryptoKeyPair> {
  const algorithm =
    type === 'ecdsa'
      ? { name: 'ECDSA', namedCurve: 'P-256' }
      : {
          name: 'RSASSA-PKCS1-v1_5',
          modulusLength: 2048,
          publicExponent: new Uint8Array([1, 0, 1]),
          hash: 'SHA-256',
        }
  return webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']) as Promise<webcrypto.CryptoKeyPair>
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key)).toString('base64')
  return `-----BEGIN PRIVATE KEY-----\n${der.match(/.{1,64}/g)?.join('\n')}\n-----END PRIVATE KEY-----\n`
}
