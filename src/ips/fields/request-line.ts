// Fields of the request line and of the connection: path, query, method, host, listener, country, protocol, WebSocket, Origin.
import type { Inspected } from '../parts/inspected.ts'
import type { FieldValue } from '../rule.ts'
import { pathReadings } from '../target.ts'
import type { FieldTable } from './spec.ts'
import { decodedValues, NONE, one, plainValue } from './value.ts'

/** Fields of the request line. */
export const REQUEST_LINE_FIELDS: FieldTable = {
  path: { phase: 'head', source: 'always', aboutPath: true, read: readPath },
  'path.raw': {
    phase: 'head',
    source: 'always',
    aboutPath: true,
    raw: true,
    read: ({ facts }) => one('path.raw', facts.target.split('?', 1)[0] ?? ''),
  },
  'target.raw': {
    phase: 'head',
    source: 'always',
    raw: true,
    read: ({ facts }) => one('target.raw', facts.target),
  },
  query: {
    phase: 'head',
    source: 'query',
    read: ({ facts: { query } }) =>
      query === '' ? NONE : decodedValues('query', '', query, false, NO_STEPS, 'form'),
  },
  'query.raw': {
    phase: 'head',
    source: 'query',
    raw: true,
    read: ({ facts }) => (facts.query === '' ? NONE : one('query.raw', facts.query)),
  },
  method: {
    phase: 'head',
    source: 'always',
    read: ({ facts }) => one('method', facts.method.toLowerCase()),
  },
  host: { phase: 'head', source: 'always', read: ({ facts }) => one('host', facts.host) },
  websocket: {
    phase: 'head',
    source: 'always',
    read: ({ facts }) => one('websocket', facts.webSocket ? 'yes' : 'no'),
  },
  'content-type': {
    phase: 'head',
    source: { header: 'content-type' },
    read: ({ facts }) => {
      const type = facts.headers.get('content-type')
      return type === undefined ? NONE : one('content-type', type.trim().toLowerCase())
    },
  },
  'origin.foreign': { phase: 'head', source: { header: 'origin' }, read: readForeignOrigin },
  listener: {
    phase: 'hello',
    source: 'always',
    read: (_, { scope }) => (scope === null ? NONE : one('listener', scope.listener)),
  },
  'source.country': {
    phase: 'hello',
    source: 'always',
    read: (_, { scope }) => (scope === null ? NONE : one('source.country', scope.country.toLowerCase())),
  },
  protocol: {
    phase: 'hello',
    source: 'always',
    read: ({ facts }, { hello }) =>
      one('protocol', hello !== null ? 'tls' : facts.webSocket ? 'websocket' : 'http'),
  },
}

function readPath({ facts }: Inspected): readonly FieldValue[] {
  const readings = pathReadings(facts.target)
  if (readings.length === 0) return one('path', facts.pathFolded)
  const paths = new Set([facts.pathFolded, ...readings.map(({ path }) => path.toLowerCase())])
  return [...paths].map(value => ({
    ...plainValue('path', value),
    steps: () => (value === facts.pathFolded ? NORMALISED : READ_OTHERWISE),
  }))
}

const NO_STEPS: readonly string[] = []
const NORMALISED = ['normalised path']
const READ_OTHERWISE = ['path as other servers read it']

function readForeignOrigin({ facts }: Inspected): readonly FieldValue[] {
  const origin = facts.headers.get('origin')?.trim().toLowerCase()
  if (origin === undefined || origin === '') return NONE
  const host = /^https?:\/\/(\[[0-9a-f:.]+\]|[^/:?#@\\]+)(?::\d{1,5})?$/.exec(origin)?.[1]
  return host === facts.host ? NONE : one('origin.foreign', origin)
}
