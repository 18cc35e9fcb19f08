// Reads XML without ever interpreting a DTD: texts, attributes and element names, as a tokeniser sees them.
import { codePointBytes } from './byte-text.ts'
import type { BodyProblem, Part, XmlNode } from './inspected.ts'
import type { InspectionLimits } from './limits.ts'

/** What an XML document was taken apart into; names are local names, without a namespace prefix. */
export type XmlParts = {
  /** Text of every element that has some of its own, in the order of their ends; comments within do not part it. */
  readonly texts: readonly XmlNode[]
  readonly attributes: readonly XmlNode[]
  /** Names of elements, each once. */
  readonly elements: ReadonlySet<string>
  /** All text of the document in its order, as `string(/)` gives it. */
  readonly content: string
  readonly doctype: string | null
  /** Texts that the document declares to be base64. */
  readonly declaredBase64: readonly Part[]
  readonly problems: ReadonlySet<BodyProblem>
}

type Limits = Pick<InspectionLimits, 'xmlDepth' | 'xmlNodes' | 'xmlDoctypeBytes'>

type Frame = { readonly name: string; readonly full: string; text: string; base64: boolean }

/**
 * Reads an XML document of bytes in UTF-8. Character references and the five entities are resolved; other entities stay as they
 * are written. What no parser would take is read as far as possible, and the document counts as broken.
 * @param complete false when the end is missing because the body is
 */
export function readXml(text: string, complete: boolean, limits: Limits): XmlParts {
  const reader = new XmlReader(text, limits)
  reader.read()
  reader.finish(complete)
  return reader
}

class XmlReader implements XmlParts {
  readonly texts: XmlNode[] = []
  readonly attributes: XmlNode[] = []
  readonly elements = new Set<string>()
  content = ''
  doctype: string | null = null
  readonly declaredBase64: Part[] = []
  readonly problems = new Set<BodyProblem>()
  readonly #text: string
  readonly #limits: Limits
  readonly #stack: Frame[] = []
  /** Text outside of every element. */
  readonly #outside: Frame = { name: '', full: '', text: '', base64: false }
  #at = 0
  #nodes = 0
  #roots = 0

  constructor(text: string, limits: Limits) {
    this.#text = text
    this.#limits = limits
    if (text.startsWith('\xef\xbb\xbf')) this.#at = 3
  }

  read(): void {
    const text = this.#text
    while (this.#at < text.length) {
      const open = text.indexOf('<', this.#at)
      const end = open < 0 ? text.length : open
      if (end > this.#at) this.#addText(resolveReferences(text.slice(this.#at, end)))
      this.#at = end
      if (open < 0) return
      if (++this.#nodes > this.#limits.xmlNodes) {
        this.problems.add('xml-count')
        this.texts.push({ name: '', value: text.slice(this.#at) })
        this.#at = text.length
        return
      }
      this.#markup()
    }
  }

  finish(complete: boolean): void {
    if (complete && (this.#stack.length > 0 || this.#roots !== 1)) this.#broken()
    while (this.#stack.length > 0) this.#pop()
    this.#emit(this.#outside)
    if (/\S/.test(this.#outside.text)) this.#broken()
  }

  #broken(): void {
    this.problems.add('xml-broken')
  }

  #markup(): void {
    const text = this.#text
    const next = text.charCodeAt(this.#at + 1)
    if (next === 0x21) {
      if (text.startsWith('<!--', this.#at)) this.#skipTo('-->', 4)
      else if (text.startsWith('<![CDATA[', this.#at)) {
        const from = this.#at + 9
        const end = this.#skipTo(']]>', 9)
        this.#addText(text.slice(from, end))
      } else this.#declaration()
    } else if (next === 0x3f) this.#skipTo('?>', 2)
    else if (next === 0x2f) this.#endTag()
    else if (isNameStart(next)) this.#startTag()
    else {
      this.#broken()
      this.#addText('<')
      this.#at++
    }
  }

  /** Goes on behind `end`; without it, everything to the end of the document is text. Returns where `end` begins. */
  #skipTo(end: string, skip: number): number {
    const from = Math.min(this.#at + skip, this.#text.length)
    const found = this.#text.indexOf(end, from)
    if (found >= 0) {
      this.#at = found + end.length
      return found
    }
    this.#broken()
    if (skip !== 9) this.#addText(this.#text.slice(from))
    this.#at = this.#text.length
    return this.#text.length
  }

  /** `<!DOCTYPE ...>` with an internal subset, and anything else that begins like a declaration. */
  #declaration(): void {
    const from = this.#at
    const end = endOfDeclaration(this.#text, from + 2)
    if (end < 0) this.#broken()
    this.#at = end < 0 ? this.#text.length : end
    this.problems.add('xml-doctype')
    if (this.doctype !== null) this.#broken()
    const declared = this.#text.slice(from, Math.min(this.#at, from + this.#limits.xmlDoctypeBytes))
    this.doctype = this.doctype === null ? declared : `${this.doctype}\n${declared}`
    if (this.doctype.length > this.#limits.xmlDoctypeBytes * 2)
      this.doctype = this.doctype.slice(0, this.#limits.xmlDoctypeBytes * 2)
  }

  #endTag(): void {
    const end = this.#text.indexOf('>', this.#at)
    const full = this.#text.slice(this.#at + 2, end < 0 ? this.#text.length : end).trimEnd()
    this.#at = end < 0 ? this.#text.length : end + 1
    if (end < 0) this.#broken()
    if (this.#stack.at(-1)?.full === full) return this.#pop()
    if (this.#deep > 0) {
      this.#deep--
      return
    }
    this.#broken()
    if (!this.#stack.some(frame => frame.full === full)) {
      if (!/^[\w.:-]{0,200}$/.test(full)) this.#addText(full)
      return
    }
    while (this.#stack.length > 0 && this.#stack.at(-1)?.full !== full) this.#pop()
    this.#pop()
  }

  /** Open elements that the limit of depth kept off the stack. */
  #deep = 0

  #startTag(): void {
    const text = this.#text
    let at = this.#at + 1
    while (at < text.length && !isNameEnd(text.charCodeAt(at))) at++
    const full = text.slice(this.#at + 1, at)
    const name = localName(full)
    this.elements.add(name)
    const frame: Frame = { name, full, text: '', base64: false }
    this.#at = at
    const closed = this.#readAttributes(frame)
    if (this.#stack.length === 0) this.#roots++
    if (closed) return
    if (this.#stack.length < this.#limits.xmlDepth) this.#stack.push(frame)
    else {
      this.problems.add('xml-depth')
      this.#deep++
    }
  }

  /** Returns whether the element is closed already. */
  #readAttributes(frame: Frame): boolean {
    const text = this.#text
    const seen = new Set<string>()
    for (;;) {
      let at = this.#at
      while (isBlank(text.charCodeAt(at))) at++
      this.#at = at
      const code = text.charCodeAt(at)
      if (at >= text.length) {
        this.#broken()
        return false
      }
      if (code === 0x3e) {
        this.#at++
        return false
      }
      if (code === 0x2f) {
        this.#at++
        if (text.charCodeAt(this.#at) === 0x3e) {
          this.#at++
          return true
        }
        this.#broken()
        continue
      }
      if (code === 0x3c) {
        this.#broken()
        return false
      }
      this.#readAttribute(frame, seen)
      if (++this.#nodes > this.#limits.xmlNodes) return false
    }
  }

  #readAttribute(frame: Frame, seen: Set<string>): void {
    const text = this.#text
    let at = this.#at
    // At least one character, whatever it is.
    do at++
    while (at < text.length && !isNameEnd(text.charCodeAt(at)) && text.charCodeAt(at) !== 0x3d)
    const full = text.slice(this.#at, at)
    while (isBlank(text.charCodeAt(at))) at++
    let value = ''
    if (text.charCodeAt(at) === 0x3d) {
      at++
      while (isBlank(text.charCodeAt(at))) at++
      const quote = text[at]
      if (quote === '"' || quote === "'") {
        const end = text.indexOf(quote, at + 1)
        value = text.slice(at + 1, end < 0 ? text.length : end)
        at = end < 0 ? text.length : end + 1
        if (end < 0) this.#broken()
      } else {
        this.#broken()
        const from = at
        while (at < text.length && !isBlank(text.charCodeAt(at)) && text.charCodeAt(at) !== 0x3e) at++
        value = text.slice(from, at)
      }
    } else this.#broken()
    this.#at = at
    if (seen.has(full)) this.#broken()
    seen.add(full)
    const name = localName(full)
    const resolved = resolveReferences(value)
    this.attributes.push({ name, value: resolved })
    if (DECLARES_BASE64.test(name) && /base64/i.test(resolved)) frame.base64 = true
  }

  #addText(text: string): void {
    const frame = this.#stack.at(-1) ?? this.#outside
    frame.text += text
    this.content += text
  }

  #pop(): void {
    const frame = this.#stack.pop()
    if (frame !== undefined) this.#emit(frame)
  }

  #emit(frame: Frame): void {
    if (!/\S/.test(frame.text)) return
    const part = { name: frame.name, value: frame.text }
    this.texts.push(part)
    if (frame.base64) this.declaredBase64.push(part)
  }
}

/** `xsi:type`, `dt:dt`, `encoding`, `EncodingType`, `contentType`. */
const DECLARES_BASE64 = /^(?:type|dt|datatype|encoding|encodingtype|contenttype)$/i

function localName(full: string): string {
  const colon = full.lastIndexOf(':')
  return colon < 0 ? full : full.slice(colon + 1)
}

/** Index behind the end of a declaration; -1: it does not end. Quotes, brackets and comments within are passed over. */
function endOfDeclaration(text: string, from: number): number {
  let depth = 0
  for (let at = from; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === 0x22 || code === 0x27) {
      const end = text.indexOf(code === 0x22 ? '"' : "'", at + 1)
      if (end < 0) return -1
      at = end
    } else if (code === 0x3c && text.startsWith('<!--', at)) {
      const end = text.indexOf('-->', at + 4)
      if (end < 0) return -1
      at = end + 2
    } else if (code === 0x5b) depth++
    else if (code === 0x5d) depth--
    else if (code === 0x3e && depth <= 0) return at + 1
  }
  return -1
}

const REFERENCE = /&(?:#[xX]([0-9a-fA-F]{1,8})|#([0-9]{1,10})|(lt|gt|amp|quot|apos));/g
const ENTITIES: Readonly<Record<string, string>> = { lt: '<', gt: '>', amp: '&', quot: '"', apos: "'" }

function resolveReferences(text: string): string {
  if (!text.includes('&')) return text
  return text.replaceAll(REFERENCE, (whole, hex?: string, decimal?: string, name?: string) =>
    name !== undefined
      ? (ENTITIES[name] ?? whole)
      : codePointBytes(hex === undefined ? Number(decimal) : Number.parseInt(hex, 16)),
  )
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09
}

function isNameStart(code: number): boolean {
  return (
    (code >= 0x61 && code <= 0x7a) ||
    (code >= 0x41 && code <= 0x5a) ||
    code === 0x5f ||
    code === 0x3a ||
    code >= 0x80
  )
}

function isNameEnd(code: number): boolean {
  return isBlank(code) || code === 0x3e || code === 0x2f || code === 0x3c
}
