// A request taken apart once: what both front ends of the rule engine read their fields from.
import type { RequestFacts } from '../../policy/facts.ts'

/**
 * A named text as sent: percent-decoded once where the format says so, case kept, one character per byte. A parameter of a form
 * without `=` has a name and an empty value; what was too much to split is one value without a name.
 */
export type Part = {
  readonly name: string
  readonly value: string
  /** Of a leaf of JSON: its keys without places in lists and other numbers; equal ones are one string. */
  readonly keys?: string
}

/** What kind of body it is, by its content type or, without one that helps, by its beginning. */
export type BodyKind = 'none' | 'form' | 'multipart' | 'json' | 'xml' | 'text' | 'binary'

/** Why a body could not be read, or not as a whole. A closed set: rules name these (`body.problems`). */
export type BodyProblem =
  | 'coding-unknown'
  | 'coding-broken'
  | 'coding-ratio'
  | 'coding-layers'
  | 'cut-off'
  | 'form-count'
  | 'multipart-broken'
  | 'multipart-count'
  | 'multipart-header'
  | 'json-broken'
  | 'json-depth'
  | 'json-count'
  | 'json-duplicate'
  | 'xml-broken'
  | 'xml-depth'
  | 'xml-count'
  | 'xml-doctype'
  | 'zip-broken'
  | 'zip-count'
  | 'zip-ratio'
  | 'zip-nested'
  | 'type-conflict'
  | 'charset-unknown'
  | 'base64-count'

/** A part of a multipart body that is a file. */
export type FilePart = {
  readonly field: string
  /** The plain reading of its name, as most servers take it. */
  readonly fileName: string
  /** Every name that some server would give it, `fileName` first. */
  readonly names: readonly string[]
  readonly headers: readonly Part[]
  /** The beginning of the content, at most 4 KB. */
  readonly head: string
  readonly bytes: number
}

/** An XML node with text in it. `name` is the local name of the element or attribute. */
export type XmlNode = Part

/** A body taken apart. */
export type BodyParts = {
  readonly kind: BodyKind
  /** After content codings, one character per byte; UTF-16 bodies are given as UTF-8. */
  readonly text: string
  /**
   * Form fields, JSON leaves (name is the path of keys, `a.b.0`), multipart fields; in order, duplicates kept. A part whose name
   * servers read in several ways is there once for each.
   */
  readonly args: readonly Part[]
  readonly files: readonly FilePart[]
  /** Headers of all parts of a multipart body, `name` being the form field. */
  readonly partHeaders: readonly { readonly field: string; readonly line: string }[]
  /** Text of every element with text of its own, comments left out and CDATA resolved. */
  readonly xmlTexts: readonly XmlNode[]
  readonly xmlAttributes: readonly XmlNode[]
  /** Local names of elements, each once. */
  readonly xmlElements: readonly string[]
  /** All text of the document in its order. */
  readonly xmlContent: string
  /** Text of a DTD, when there is one; never interpreted. */
  readonly xmlDoctype: string | null
  /** Names of entries of zip archives: uploaded, base64 within JSON, form or XML, or the whole body. */
  readonly archiveEntries: readonly string[]
  /** Text that is base64 where the format says so or where its look leaves no doubt, decoded; `name` of its field. */
  readonly base64: readonly Part[]
  readonly problems: readonly BodyProblem[]
  /** All bytes of the body were there. */
  readonly complete: boolean
}

/** A WebSocket message, or the first part of one. */
export type MessageFacts = {
  /** 1 for the first message of the connection. */
  readonly number: number
  readonly kind: 'text' | 'binary'
  /** Unmasked, decompressed; one character per byte. */
  readonly text: string
  readonly complete: boolean
  /** What the client's earlier messages held, joined, at most MAX_EARLIER characters; left out: nothing. */
  readonly earlier?: string
}

/** Characters of earlier messages that are kept for `message.stream`. */
export const MAX_EARLIER = 8_192

/** What rules look at. Parts are made when they are asked for and kept. */
export type Inspected = {
  readonly facts: RequestFacts
  /** Arguments of the query, decoded once. */
  readonly query: readonly Part[]
  /** Base64 within the query, like `base64` of the body. */
  readonly queryBase64: readonly Part[]
  /** As sent: cookies have no coding of their own. */
  readonly cookies: readonly Part[]
  /** Null: not read (yet). */
  readonly body: BodyParts | null
  readonly message: MessageFacts | null
  /**
   * What the field layer remembers of it. A place on the object itself: a weak map with an entry for every request costs the
   * garbage collector more than the requests.
   */
  memo: object | null
}

/** Undoes a content coding within a limit and never throws; injected, because the pure core may not use zlib. */
export type Inflate = (
  coding: 'gzip' | 'deflate' | 'deflate-raw' | 'br',
  bytes: Uint8Array,
  maxBytes: number,
) => { readonly bytes: Uint8Array; readonly ended: 'complete' | 'cut-off' | 'broken' | 'limit' }
