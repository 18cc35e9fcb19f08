// Puts an input where rules look: the value of a query, form, JSON or XML, a header, a cookie, a path, the name of a file.
import type { RuleCondition, RuleDocument } from '../../src/ips/rule-document.ts'
import type { TrafficClass } from '../../src/policy/classes.ts'
import { FORM_TYPE } from '../load/work.ts'
import { askedOf, type Asked } from './asked.ts'

/** What a rule asks for before it looks at a value: its path, class and method, and the names that it gives values. */
export type Bait = {
  readonly id: string
  readonly method: string
  readonly path: string
  readonly class: TrafficClass
  readonly argument: string
  readonly header: string
  readonly cookie: string
  readonly element: string
  readonly headers: readonly string[]
}

/** Where an input can be put. */
export const PLACES = ['query', 'form', 'json', 'xml', 'header', 'cookie', 'path', 'file'] as const

/** A place. */
export type Place = (typeof PLACES)[number]

/** For rules that nothing is known of. */
export const ANY_BAIT: Bait = {
  id: '',
  method: 'POST',
  path: '/x',
  class: 'other',
  argument: 'q',
  header: 'referer',
  cookie: 'c',
  element: 'v',
  headers: [],
}

/** The bait for a shipped rule: the first request that it says it fires on. */
export function baitOf({ id, when, classes, methods, tests }: RuleDocument): Bait {
  const fields: string[] = []
  const visit = (condition: RuleCondition): void => {
    if ('all' in condition) condition.all.forEach(visit)
    else if ('any' in condition) condition.any.forEach(visit)
    else if ('not' in condition) visit(condition.not)
    else fields.push(...condition.in)
  }
  visit(when)
  const named = (prefix: string, otherwise: string): string => {
    const field = fields.find(
      text => text.startsWith(prefix) && !text.startsWith('args.base64') && text !== 'args.names',
    )
    const name = field?.slice(prefix.length).replace(/\.raw$/, '')
    return name === undefined || name === '' || name === 'raw' ? otherwise : name
  }
  const test = tests.fires.find(({ request }) => request !== null)
  const target = test?.request?.split(' ')[1] ?? '/x'
  const given = Object.entries(test?.headers ?? {}).filter(([name]) => !/^(?:content-|transfer-)/i.test(name))
  return {
    id,
    method: methods?.[0] ?? 'POST',
    path: target.split(/[?#]/, 1)[0] ?? '/x',
    class: test?.class ?? classes?.[0] ?? 'other',
    argument: named('args.', 'q'),
    header: named('header.', 'referer'),
    cookie: named('cookies.', 'c'),
    element: named('xml.', 'v'),
    headers: given.flat(),
  }
}

const UNFIT_FOR_QUERY = /[^\x21-\x7e\x80-\xff]|#/g
const UNFIT_FOR_PATH = /[^\x21-\x7e\x80-\xff]|[#?%]/g
const UNFIT_FOR_HEADER = /[^\t\x20-\x7e\x80-\xff]/g

function escaped(char: string): string {
  return `%${char.charCodeAt(0).toString(16).padStart(2, '0')}`
}

/** A request with the text in a place; null when the gate refuses it before rules are asked. */
export function place(text: string, where: Place, bait: Bait): Asked | null {
  const { path, argument, header, cookie, element } = bait
  const query = `?${argument}=${text.replaceAll(UNFIT_FOR_QUERY, escaped)}`
  switch (where) {
    case 'query':
      return request(bait, path + query, [], null)
    case 'form':
      return request(bait, path, ['Content-Type', FORM_TYPE], `${argument}=${text}`)
    case 'json': {
      const body = JSON.stringify({ id: 1, [argument]: text })
      return request(bait, path, ['Content-Type', 'application/json'], body)
    }
    case 'xml': {
      const content = text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('\0', '')
      return request(bait, path, ['Content-Type', 'text/xml'], `<r><${element}>${content}</${element}></r>`)
    }
    case 'header':
      return request(bait, path, [header, text.replaceAll(UNFIT_FOR_HEADER, ' ')], null)
    case 'cookie':
      return request(bait, path, ['Cookie', `${cookie}=${text.replaceAll(UNFIT_FOR_HEADER, ' ')}`], null)
    case 'path':
      return request(bait, `${path}/${text.replaceAll(UNFIT_FOR_PATH, escaped)}`, [], null)
    case 'file': {
      const name = text.replaceAll(/[\r\n"]/g, ' ')
      const body = `--b\r\nContent-Disposition: form-data; name="f"; filename="${name}"\r\n\r\n${text}\r\n--b--\r\n`
      return request(bait, path, ['Content-Type', 'multipart/form-data; boundary=b'], body)
    }
  }
}

function request(bait: Bait, target: string, more: readonly string[], body: string | null): Asked | null {
  const length = body === null ? [] : ['Content-Length', String(body.length)]
  const headers = [
    'Host',
    'rmm.example.test',
    'User-Agent',
    'Mozilla/5.0',
    ...bait.headers,
    ...length,
    ...more,
  ]
  // A body is asked about by rules on methods that carry one.
  const method = body !== null && bait.method === 'GET' ? 'POST' : bait.method
  return askedOf({ method, target, headers, body }, bait.class)
}
