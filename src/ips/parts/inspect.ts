// Takes requests apart for rules: nothing is parsed before it is asked for, and nothing twice.
import type { RequestFacts } from '../../policy/facts.ts'
import { Base64Search } from './base64.ts'
import { ReadBody } from './body.ts'
import { contentTypes, headerValues } from './body-kind.ts'
import { readCookies, readForm } from './form.ts'
import type { BodyParts, Inflate, Inspected, MessageFacts, Part } from './inspected.ts'
import { INSPECTION_LIMITS, type InspectionLimits } from './limits.ts'

/** What taking apart needs from outside. Without `inflate`, codings count as broken and their bytes are read as they are. */
export type InspectOptions = {
  readonly inflate?: Inflate
  readonly limits?: InspectionLimits
  /** A body whose type names no format is read as a form too, if it can be one. */
  readonly isFormWanted?: boolean
}

/**
 * A request as rules see it.
 * @param body null when it was not read (yet)
 * @param complete whether all bytes of the body are there
 */
export function inspectRequest(
  facts: RequestFacts,
  body: Uint8Array | null,
  complete: boolean,
  options: InspectOptions = {},
): Inspected {
  const head = new InspectedRequest(facts, options.limits ?? INSPECTION_LIMITS, null, null, null)
  return body === null ? head : withBody(head, body, complete, options)
}

/** The same request with its body; what the head was taken apart into is kept. */
export function withBody(
  head: Inspected,
  body: Uint8Array,
  complete: boolean,
  options: InspectOptions = {},
): Inspected {
  const limits = options.limits ?? INSPECTION_LIMITS
  const { headers } = head.facts
  const read = new ReadBody({
    bytes: body,
    complete,
    types: contentTypes(headers),
    codings: headerValues(headers, 'content-encoding'),
    inflate: options.inflate ?? NO_INFLATE,
    limits,
    isFormWanted: options.isFormWanted ?? false,
  })
  return new InspectedRequest(head.facts, limits, head, read, null)
}

/** The upgrade request with a message of the client. */
export function withMessage(head: Inspected, message: MessageFacts, options: InspectOptions = {}): Inspected {
  return new InspectedRequest(head.facts, options.limits ?? INSPECTION_LIMITS, head, head.body, message)
}

const NO_INFLATE: Inflate = () => ({ bytes: new Uint8Array(0), ended: 'broken' })

class InspectedRequest implements Inspected {
  readonly facts: RequestFacts
  readonly body: BodyParts | null
  readonly message: MessageFacts | null
  memo: object | null = null
  readonly #limits: InspectionLimits
  readonly #head: Inspected | null
  #query: readonly Part[] | undefined
  #queryBase64: readonly Part[] | undefined
  #cookies: readonly Part[] | undefined

  constructor(
    facts: RequestFacts,
    limits: InspectionLimits,
    head: Inspected | null,
    body: BodyParts | null,
    message: MessageFacts | null,
  ) {
    this.facts = facts
    this.#limits = limits
    this.#head = head
    this.body = body
    this.message = message
  }

  get query(): readonly Part[] {
    if (this.#head !== null) return this.#head.query
    if (this.facts.query === '') return NO_PARTS
    return (this.#query ??= readForm(this.facts.query, this.#limits.formParameters).parts)
  }

  get queryBase64(): readonly Part[] {
    if (this.#head !== null) return this.#head.queryBase64
    if (this.facts.query.length < this.#limits.base64Shortest) return NO_PARTS
    if (this.#queryBase64 === undefined) {
      const search = new Base64Search(this.#limits)
      for (const { name, value } of this.query) search.add(name, value === '' ? name : value, false)
      this.#queryBase64 = search.found
    }
    return this.#queryBase64
  }

  get cookies(): readonly Part[] {
    if (this.#head !== null) return this.#head.cookies
    return (this.#cookies ??= readCookies(headerValues(this.facts.headers, 'cookie'), this.#limits.cookies))
  }
}

const NO_PARTS: readonly Part[] = []

const NOBODY: RequestFacts = {
  method: '',
  host: '',
  target: '/',
  path: '/',
  pathFolded: '/',
  query: '',
  headers: { get: () => undefined, raw: [] },
  webSocket: false,
  nowMs: 0,
}

/** Before any request: all there is to see is the ClientHello. */
export const INSPECTED_HELLO: Inspected = inspectRequest(NOBODY, null, true)
