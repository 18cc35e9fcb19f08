// Fields of headers, and the two halves of Basic credentials.
import type { Inspected } from '../parts/inspected.ts'
import { isSecretName } from '../redact.ts'
import type { FieldValue } from '../rule.ts'
import { remembered } from './memo.ts'
import type { FieldTable, NamedFamily } from './spec.ts'
import { decodedValues, NONE, plainValue } from './value.ts'

/** Fields of headers. */
export const HEADER_FIELDS: FieldTable = {
  headers: { phase: 'head', source: 'always', read: inspected => allHeaders(inspected, false) },
  'headers.raw': {
    phase: 'head',
    source: 'always',
    raw: true,
    read: inspected => allHeaders(inspected, true),
  },
  'headers.names': {
    phase: 'head',
    source: 'always',
    read: ({ facts: { headers } }) =>
      headers.raw
        .filter((_, at) => at % 2 === 0)
        .map(name => plainValue('headers.names', name.toLowerCase())),
  },
  'basic.user': {
    phase: 'head',
    source: { header: 'authorization' },
    read: inspected => basic(inspected).filter(({ field }) => field === 'basic.user'),
  },
  'basic.password': {
    phase: 'head',
    source: { header: 'authorization' },
    read: inspected => basic(inspected).filter(({ field }) => field === 'basic.password'),
  },
}

/** `header.<name>`. */
export const HEADER_FAMILY: NamedFamily = {
  prefix: 'header.',
  spec: (name, raw) => ({
    phase: 'head',
    source: { header: name },
    raw,
    read: ({ facts }) => {
      const { raw: list } = facts.headers
      let found: FieldValue[] | null = null
      for (let at = 0; at + 1 < list.length; at += 2) {
        if (isNamed(list[at] ?? '', name)) (found ??= []).push(...header(name, list[at + 1] ?? '', raw))
      }
      return found ?? NONE
    },
  }),
}

function allHeaders(inspected: Inspected, raw: boolean): readonly FieldValue[] {
  return remembered(inspected, raw ? 'headers.raw' : 'headers', () => {
    const { raw: list } = inspected.facts.headers
    const found: FieldValue[] = []
    for (let at = 0; at + 1 < list.length; at += 2) {
      found.push(...header((list[at] ?? '').toLowerCase(), list[at + 1] ?? '', raw))
    }
    return found
  })
}

function header(name: string, value: string, raw: boolean): readonly FieldValue[] {
  const secret = isSecretName(name)
  return raw
    ? [plainValue(`header.${name}.raw`, value, name, secret)]
    : decodedValues(`header.${name}`, name, value, secret)
}

/** @param name in lower case */
function isNamed(received: string, name: string): boolean {
  return received.length === name.length && received.toLowerCase() === name
}

const BASIC = ['base64']

function basic(inspected: Inspected): readonly FieldValue[] {
  return remembered(inspected, 'basic', () => {
    const sent = inspected.facts.headers.get('authorization')
    const credentials = sent === undefined ? undefined : /^\s*basic\s(.*)$/is.exec(sent)?.[1]
    if (credentials === undefined) return NONE
    // As lenient as the servers' decoders: what is no base64 is left out, and so is a letter too many.
    const packed = (credentials.split('=', 1)[0] ?? '').replaceAll(/[^A-Za-z0-9+/]+/g, '')
    const pair = atob(packed.length % 4 === 1 ? packed.slice(0, -1) : packed)
    if (pair === '') return NONE
    const colon = pair.indexOf(':')
    const user = colon < 0 ? pair : pair.slice(0, colon)
    const password = colon < 0 ? '' : pair.slice(colon + 1)
    return [
      ...decodedValues('basic.user', '', user, false, BASIC),
      ...decodedValues('basic.password', '', password, true, BASIC),
    ]
  })
}
