// Reads multipart bodies (RFC 7578, RFC 2046) strictly, and once more leniently where servers could see other parts.
import { decodeDeclaredBase64 } from './base64.ts'
import { decodeCharset } from './charset.ts'
import { readDisposition } from './disposition.ts'
import type { BodyProblem, FilePart, Part } from './inspected.ts'
import type { InspectionLimits } from './limits.ts'
import { decodeQuotedPrintable, readParameters } from './mime.ts'

/** A file with the place of its content. */
export type UploadedFile = FilePart & { readonly content: string }

/** A part that is a document of its own. */
export type PartDocument = { readonly field: string; readonly kind: 'json' | 'xml'; readonly text: string }

/** What a multipart body was taken apart into. */
export type MultipartParts = {
  readonly fields: readonly Part[]
  readonly files: readonly UploadedFile[]
  readonly headers: readonly { readonly field: string; readonly line: string }[]
  readonly documents: readonly PartDocument[]
  /** Contents that are base64 by their Content-Transfer-Encoding, decoded. */
  readonly base64: readonly Part[]
  readonly problems: ReadonlySet<BodyProblem>
}

type Limits = Pick<
  InspectionLimits,
  'multipartParts' | 'multipartHeaderBytes' | 'multipartHeaders' | 'multipartDepth' | 'fileHeadBytes'
>

/**
 * Reads a body with each of the boundaries.
 * @param found as `boundariesOf` gives them; none, or several, make a broken body, which is one value as well
 * @param complete false when the end of the body is not there
 */
export function readMultipart(
  text: string,
  { boundaries, isAnnounced }: Boundaries,
  complete: boolean,
  limits: Limits,
): MultipartParts {
  const reader = new MultipartReader(limits, complete)
  if (boundaries.length !== 1 || !isAnnounced) reader.problems.add('multipart-broken')
  if (boundaries.length !== 1) reader.fields.push({ name: '', value: text })
  for (const boundary of boundaries) reader.read(text, boundary, '', 1)
  return reader
}

/** Boundaries of a body; announced: a content type names them. */
export type Boundaries = { readonly boundaries: readonly string[]; readonly isAnnounced: boolean }

/** Boundaries that content types name, most to least likely, at most `max`; without any, the one that the body begins with. */
export function boundariesOf(types: readonly string[], text: string, max: number): Boundaries {
  const found = new Set<string>()
  for (const type of types) {
    if (!/multipart\//i.test(type)) continue
    for (const escapes of type.includes('\\') ? [true, false] : [true]) {
      for (const { key, raw } of readParameters(type, escapes).parameters)
        if (key === 'boundary') {
          found.add(raw)
          // Unquoted, some stop at a comma or a blank.
          const [word = ''] = raw.split(/[,\s]/, 1)
          found.add(word)
        }
    }
    for (const [, quoted, plain] of type.matchAll(LOOSE_BOUNDARY)) found.add(quoted ?? plain ?? '')
  }
  const isAnnounced = found.size > 0
  if (!isAnnounced) found.add(/^\s{0,20}--([^\s]{1,200})[ \t]{0,20}\r?\n/.exec(text)?.[1] ?? '')
  found.delete('')
  return { boundaries: [...found].filter(({ length }) => length <= MAX_BOUNDARY).slice(0, max), isAnnounced }
}

const LOOSE_BOUNDARY = /boundary\s{0,8}=\s{0,8}(?:"([^"]{1,200})"|([^;,\s"]{1,200}))/gi
const MAX_BOUNDARY = 200

type Delimiter = { readonly start: number; readonly end: number; readonly final: boolean }

class MultipartReader implements MultipartParts {
  readonly fields: Part[] = []
  readonly files: UploadedFile[] = []
  readonly headers: { readonly field: string; readonly line: string }[] = []
  readonly documents: PartDocument[] = []
  readonly base64: Part[] = []
  readonly problems = new Set<BodyProblem>()
  readonly #limits: Limits
  readonly #complete: boolean
  #count = 0

  constructor(limits: Limits, complete: boolean) {
    this.#limits = limits
    this.#complete = complete
  }

  read(text: string, boundary: string, field: string, depth: number): void {
    const { strict, loose } = this.#delimiters(text, `--${boundary}`)
    this.#readParts(text, strict, field, depth)
    if (loose.length > strict.length) {
      this.problems.add('multipart-broken')
      this.#readParts(text, loose, field, depth)
    }
  }

  /** Lines that are a delimiter, and all places that look like one. */
  #delimiters(
    text: string,
    delimiter: string,
  ): { readonly strict: Delimiter[]; readonly loose: Delimiter[] } {
    const strict: Delimiter[] = []
    const loose: Delimiter[] = []
    const most = this.#limits.multipartParts + 2
    for (let at = text.indexOf(delimiter); at >= 0 && loose.length < most;) {
      let end = at + delimiter.length
      const final = text.startsWith('--', end)
      if (final) end += 2
      const afterMark = end
      while (text[end] === ' ' || text[end] === '\t') end++
      const before = text[at - 1]
      const endsLine = end >= text.length || text[end] === '\n' || text[end] === '\r'
      const isLine = endsLine && (before === undefined || before === '\n' || before === '\r')
      const start = at - (before === '\n' ? (text[at - 2] === '\r' ? 2 : 1) : before === '\r' ? 1 : 0)
      if (endsLine) end += text.startsWith('\r\n', end) ? 2 : 1
      if (isLine) strict.push({ start, end, final })
      loose.push({ start, end: endsLine ? end : afterMark, final })
      at = text.indexOf(delimiter, afterMark)
    }
    return { strict, loose }
  }

  #readParts(text: string, delimiters: readonly Delimiter[], field: string, depth: number): void {
    const [first] = delimiters
    if (first === undefined) {
      if (this.#complete || text !== '') this.problems.add('multipart-broken')
      return this.#addLoose(text)
    }
    this.#addLoose(text.slice(0, Math.max(first.start, 0)))
    for (const [index, { end, final }] of delimiters.entries()) {
      const next = delimiters[index + 1]
      const content = text.slice(end, next === undefined ? text.length : Math.max(next.start, end))
      if (final) {
        if (next !== undefined) this.problems.add('multipart-broken')
        this.#addLoose(content)
      } else if (this.#count >= this.#limits.multipartParts) {
        this.problems.add('multipart-count')
        return this.#addLoose(text.slice(end))
      } else {
        if (next === undefined && this.#complete) this.problems.add('multipart-broken')
        this.#readPart(content, field, depth, next === undefined)
      }
    }
  }

  /** Text between parts: nothing that servers read, as a rule, and still not to be overlooked. */
  #addLoose(text: string): void {
    if (/\S/.test(text)) this.fields.push({ name: '', value: text })
  }

  #readPart(content: string, outer: string, depth: number, isLast: boolean): void {
    this.#count++
    const head = this.#readHead(content)
    if (head === null) {
      // The head of the last part may be cut off, which is no fault of the sender.
      if (!isLast || this.#complete) this.problems.add('multipart-broken')
      this.#addLoose(content)
    }
    const lines = head?.lines ?? content.slice(0, this.#limits.multipartHeaderBytes).split(/\r\n|\r|\n/)
    const body = head === null ? '' : content.slice(head.end)
    const headers = lines.map(toHeader)
    const said = readDisposition(valuesOf(headers, 'content-disposition'))
    if (said.odd) this.problems.add('multipart-header')
    const field = said.names[0] ?? outer
    if (head !== null) for (const line of lines) this.headers.push({ field, line })
    const type = valuesOf(headers, 'content-type')[0] ?? ''
    if (/^\s{0,8}multipart\//i.test(type) && this.#readNested(body, type, field, depth)) return
    const kind = /json/i.test(type) ? 'json' : /xml/i.test(type) ? 'xml' : null
    if (kind !== null) this.documents.push({ field, kind, text: body })
    const decoded = this.#decodeTransfer(headers, field, body)
    const [fileName] = said.fileNames ?? []
    if (fileName !== undefined) this.#addFile(field, said.fileNames ?? [], headers, decoded ?? body)
    // An empty file name makes a file to some servers and a field to others.
    if (said.fileNames !== null && fileName !== '') return
    for (const name of said.names.length === 0 ? [outer] : said.names) {
      this.fields.push({ name, value: body })
      if (decoded !== null && decoded !== body) this.fields.push({ name, value: decoded })
      const charset = /charset\s{0,8}=\s{0,8}"?([\w.:-]{1,40})/i.exec(type)?.[1]
      const converted = charset === undefined ? null : decodeCharset(charset, body)
      if (converted !== null && converted !== body) this.fields.push({ name, value: converted })
    }
  }

  #readNested(body: string, type: string, field: string, depth: number): boolean {
    const [boundary] = boundariesOf([type], body, 1).boundaries
    if (boundary === undefined || depth >= this.#limits.multipartDepth) {
      this.problems.add('multipart-broken')
      return false
    }
    this.read(body, boundary, field, depth + 1)
    return true
  }

  /** Undoes Content-Transfer-Encoding, which some servers honour and most do not; null: there is none. */
  #decodeTransfer(headers: readonly Part[], field: string, body: string): string | null {
    const coding = (valuesOf(headers, 'content-transfer-encoding')[0] ?? '').trim().toLowerCase()
    if (coding === 'quoted-printable') return decodeQuotedPrintable(body)
    if (coding !== 'base64') return null
    const value = decodeDeclaredBase64(body)
    this.base64.push({ name: field, value })
    return value
  }

  #addFile(field: string, names: readonly string[], headers: readonly Part[], content: string): void {
    this.files.push({
      field,
      fileName: names[0] ?? '',
      names,
      headers,
      head: content.slice(0, this.#limits.fileHeadBytes),
      bytes: content.length,
      content,
    })
  }

  /** Lines up to the empty one, continued lines joined; null: there is no empty line. */
  #readHead(content: string): { readonly lines: readonly string[]; readonly end: number } | null {
    const lines: string[] = []
    let at = 0
    for (;;) {
      const feed = content.indexOf('\n', at)
      if (feed < 0) return null
      const line = content.slice(at, feed > at && content[feed - 1] === '\r' ? feed - 1 : feed)
      at = feed + 1
      if (line === '') return { lines, end: at }
      if (at > this.#limits.multipartHeaderBytes || lines.length >= this.#limits.multipartHeaders) {
        this.problems.add('multipart-header')
        return null
      }
      if (/[\r\0]/.test(line)) this.problems.add('multipart-header')
      if (/^[ \t]/.test(line) && lines.length > 0) lines[lines.length - 1] += line
      else lines.push(...line.split('\r'))
    }
  }
}

function toHeader(line: string): Part {
  const colon = line.indexOf(':')
  return colon < 0
    ? { name: '', value: line }
    : { name: line.slice(0, colon).trim(), value: line.slice(colon + 1).trim() }
}

function valuesOf(headers: readonly Part[], name: string): readonly string[] {
  return headers.filter(header => header.name.toLowerCase() === name).map(({ value }) => value)
}
