// The identity of a client: an Ed25519 key of its own that signs the TLS session it attaches on, so that a proof fits no other one.
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type KeyObject,
} from 'node:crypto'

/** Name of the header that carries identity and proof. */
export const IDENTITY_HEADER = 'Portcullis-Identity'

/** Label of the exported keying material (RFC 5705; private labels begin with EXPERIMENTAL). */
const EXPORTER_LABEL = 'EXPERIMENTAL portcullis client identity'
const EXPORTER_BYTES = 32

/** Keying material of a TLS session: the same at both of its ends and nowhere else. Null: there is none. */
export type KeyingMaterial = (bytes: number, label: string) => Buffer | null

/** What a proof is about besides the TLS session. */
export type Proven = { readonly name: string; readonly instance: string; readonly protocol: string }

/** An identity in the hands of its client. */
export type HeldIdentity = {
  /** `ed25519/` and the public key in base64url. */
  readonly text: string
  /** Whether it was there before this process: only then can it be expected to come again. */
  readonly kept: boolean
  readonly privateKey: KeyObject
}

/** What a request says of its identity. `invalid`: it names one and does not prove it for this connection. */
export type IdentityClaim = { readonly text: string; readonly kept: boolean } | 'invalid' | null

const HEADER = /^ed25519 ([A-Za-z0-9_-]{43}) ([A-Za-z0-9_-]{86}) (kept|new)$/

/** Makes a key. Returns it as PEM (PKCS #8). */
export function newIdentityPem(): string {
  return generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}

/** Reads what {@link newIdentityPem} wrote; null: it is no Ed25519 key. */
export function readIdentityPem(pem: string, kept: boolean): HeldIdentity | null {
  try {
    const privateKey = createPrivateKey(pem)
    const { crv, x } = createPublicKey(privateKey).export({ format: 'jwk' })
    return crv === 'Ed25519' && typeof x === 'string' ? { text: `ed25519/${x}`, kept, privateKey } : null
  } catch {
    return null
  }
}

/** The value of the header; null: this TLS session cannot be signed. */
export function identityHeader(held: HeldIdentity, proven: Proven, material: KeyingMaterial): string | null {
  const exported = material(EXPORTER_BYTES, EXPORTER_LABEL)
  if (exported === null) return null
  const proof = sign(null, signed(proven, exported), held.privateKey).toString('base64url')
  return `ed25519 ${held.text.slice('ed25519/'.length)} ${proof} ${held.kept ? 'kept' : 'new'}`
}

/** Reads and checks the header against the session that it came on. */
export function readClaim(
  header: string | undefined,
  proven: Proven,
  material: KeyingMaterial,
): IdentityClaim {
  if (header === undefined) return null
  const [, x = '', proof = '', state] = HEADER.exec(header) ?? []
  const exported = material(EXPORTER_BYTES, EXPORTER_LABEL)
  if (x === '' || exported === null) return 'invalid'
  try {
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
    const fits = verify(null, signed(proven, exported), key, Buffer.from(proof, 'base64url'))
    return fits ? { text: `ed25519/${x}`, kept: state === 'kept' } : 'invalid'
  } catch {
    return 'invalid'
  }
}

/** The bytes under a proof. None of the names can hold a NUL. */
function signed({ name, instance, protocol }: Proven, exported: Buffer): Buffer {
  const words = `portcullis client identity v1\0${name}\0${instance}\0${protocol}\0`
  return Buffer.concat([Buffer.from(words, 'latin1'), exported])
}
