// Whether a body is one that rules look into, and what leaves them without sight of it.
import type { RequestFacts } from '../policy/facts.ts'
import { contentTypes } from './parts/body-kind.ts'
import type { BodyProblem } from './parts/inspected.ts'

/** Whether a request says that a body follows. */
export function announcesBody({ headers }: RequestFacts): boolean {
  const length = headers.get('content-length')
  return headers.get('transfer-encoding') !== undefined || (length !== undefined && length.trim() !== '0')
}

// Bodies without text to attack with; a rule that names the path sees them all the same.
const OPAQUE_TYPE =
  /^(?:application\/(?:octet-stream|zip|x-zip|gzip|x-gzip|x-7z|pdf|x-msdownload|vnd\.ms-cab)|image\/|audio\/|video\/|font\/)[^,;]*(?:;[^,/]*)?$/i

/** Whether a body is, by its type, nothing that text is found in. */
export function hasOpaqueBody(facts: RequestFacts): boolean {
  const types = contentTypes(facts.headers)
  return types.length > 0 && types.every(type => OPAQUE_TYPE.test(type))
}

/** Problems that leave rules without sight of what the server will see. Broken JSON or XML is looked at as text instead. */
export const UNREADABLE: ReadonlySet<BodyProblem> = new Set<BodyProblem>([
  'coding-unknown',
  'coding-broken',
  'coding-ratio',
  'coding-layers',
  'multipart-count',
  'json-depth',
  'json-count',
  'xml-depth',
  'xml-count',
  'form-count',
  'base64-count',
  'zip-count',
  'zip-ratio',
])
