// A body taken apart piece by piece: each piece when a rule first asks for it.
import { Base64Search } from './base64.ts'
import { formatsOf, type BodyFormats } from './body-kind.ts'
import { bytesOf, byteText } from './byte-text.ts'
import { readingsOf } from './charset.ts'
import { inflateWithin, undoCodings, type Decoded } from './content-coding.ts'
import { readForm, type FormParts } from './form.ts'
import type { BodyKind, BodyParts, BodyProblem, FilePart, Inflate, Part, XmlNode } from './inspected.ts'
import { readJson, type JsonParts } from './json.ts'
import type { InspectionLimits } from './limits.ts'
import { boundariesOf, readMultipart, type MultipartParts } from './multipart.ts'
import { readXml, type XmlParts } from './xml.ts'
import { hasZip, readZip } from './zip.ts'

/** What is needed to take a body apart. */
export type BodySource = {
  readonly bytes: Uint8Array
  readonly complete: boolean
  /** Values of all Content-Type and Content-Encoding headers. */
  readonly types: readonly string[]
  readonly codings: readonly string[]
  readonly inflate: Inflate
  readonly limits: InspectionLimits
  /** A body whose type names no format is read as a form too, if it can be one. */
  readonly isFormWanted: boolean
}

type Documents = {
  readonly forms: readonly FormParts[]
  readonly multiparts: readonly MultipartParts[]
  readonly jsons: readonly JsonParts[]
  readonly xmls: readonly XmlParts[]
}

type Archives = { readonly entries: readonly string[]; readonly problems: ReadonlySet<BodyProblem> }

/** A body whose parts are made when they are asked for, and kept. Nothing of it throws, whatever the bytes. */
export class ReadBody implements BodyParts {
  readonly complete: boolean
  readonly #source: BodySource
  #decoded: Decoded | undefined
  #texts: readonly string[] | undefined
  #text: string | undefined
  #charsetUnknown = false
  #formats: BodyFormats | undefined
  #documents: Documents | undefined
  #args: readonly Part[] | undefined
  #base64: readonly Part[] | undefined
  #archives: Archives | undefined
  #inflateProblem = false
  #base64Problem = false

  constructor(source: BodySource) {
    this.#source = source
    this.complete = source.complete
  }

  get kind(): BodyKind {
    return this.#format().kind
  }

  get text(): string {
    const texts = this.#readings()
    return texts.length === 1 ? (texts[0] ?? '') : (this.#text ??= texts.join('\n'))
  }

  get args(): readonly Part[] {
    return (this.#args ??= this.#gatherArgs())
  }

  get files(): readonly FilePart[] {
    return this.#read().multiparts.flatMap(({ files }) => files)
  }

  get partHeaders(): readonly { readonly field: string; readonly line: string }[] {
    return this.#read().multiparts.flatMap(({ headers }) => headers)
  }

  get xmlTexts(): readonly XmlNode[] {
    return this.#read().xmls.flatMap(({ texts }) => texts)
  }

  get xmlAttributes(): readonly XmlNode[] {
    return this.#read().xmls.flatMap(({ attributes }) => attributes)
  }

  get xmlElements(): readonly string[] {
    return [...new Set(this.#read().xmls.flatMap(({ elements }) => [...elements]))]
  }

  get xmlContent(): string {
    return this.#read()
      .xmls.map(({ content }) => content)
      .join('\n')
  }

  get xmlDoctype(): string | null {
    const found = this.#read().xmls.flatMap(({ doctype }) => doctype ?? [])
    return found.length === 0 ? null : found.join('\n')
  }

  get archiveEntries(): readonly string[] {
    return (this.#archives ??= this.#findArchives()).entries
  }

  get base64(): readonly Part[] {
    return (this.#base64 ??= this.#findBase64())
  }

  get problems(): readonly BodyProblem[] {
    const found = new Set<BodyProblem>(this.#undone().problems)
    if (!this.complete) found.add('cut-off')
    if (this.#format().conflict) found.add('type-conflict')
    if (this.#charsetUnknown) found.add('charset-unknown')
    const { forms, multiparts, jsons, xmls } = this.#read()
    const claimed = this.kind === 'text' || this.kind === 'binary' ? [] : forms
    for (const { problems } of [...claimed, ...multiparts, ...jsons, ...xmls])
      for (const problem of problems) found.add(problem)
    this.#archives ??= this.#findArchives()
    for (const problem of this.#archives.problems) found.add(problem)
    if (this.#inflateProblem) found.add('coding-ratio')
    if (this.#base64Problem) found.add('base64-count')
    return [...found]
  }

  #undone(): Decoded {
    const { bytes, codings, complete, inflate, limits } = this.#source
    return (this.#decoded ??=
      codings.length === 0
        ? { bytes, asReceived: null, problems: NO_PROBLEMS }
        : undoCodings(codings, bytes, complete, inflate, limits))
  }

  #readings(): readonly string[] {
    if (this.#texts !== undefined) return this.#texts
    const { bytes, asReceived } = this.#undone()
    const { texts, unknown } = readingsOf(bytes, this.#source.types)
    this.#charsetUnknown = unknown
    this.#texts = asReceived === null ? texts : [...texts, byteText(asReceived)]
    return this.#texts
  }

  #format(): BodyFormats {
    const { types, isFormWanted } = this.#source
    return (this.#formats ??= formatsOf(types, this.#readings()[0] ?? '', isFormWanted))
  }

  /** Reads the body in every format in question; what only a second reading of the bytes shows has no say in problems. */
  #read(): Documents {
    if (this.#documents !== undefined) return this.#documents
    const forms: FormParts[] = []
    const multiparts: MultipartParts[] = []
    const jsons: JsonParts[] = []
    const xmls: XmlParts[] = []
    const { limits, types } = this.#source
    const whole = this.complete && !this.#undone().problems.has('cut-off')
    for (const [index, text] of this.#readings().entries()) {
      const complete = whole && index === 0
      for (const format of this.#format().formats) {
        if (format === 'form') forms.push(readForm(text, limits.formParameters))
        else if (format === 'json') jsons.push(readJson(text, complete, limits))
        else if (format === 'xml') xmls.push(readXml(text, complete, limits))
        else
          multiparts.push(
            readMultipart(text, boundariesOf(types, text, limits.multipartBoundaries), complete, limits),
          )
      }
    }
    for (const { documents } of multiparts) {
      for (const { field, kind, text } of documents) {
        if (kind === 'xml') xmls.push(readXml(text, false, limits))
        else jsons.push(within(field, readJson(text, false, limits)))
      }
    }
    this.#documents = { forms, multiparts, jsons, xmls }
    return this.#documents
  }

  #gatherArgs(): readonly Part[] {
    const { forms, multiparts, jsons } = this.#read()
    const lists = [
      ...multiparts.map(({ fields }) => fields),
      ...forms.map(({ parts }) => parts),
      ...jsons.map(({ parts }) => parts),
    ]
    return lists.length === 1 ? (lists[0] ?? []) : lists.flat()
  }

  #findBase64(): readonly Part[] {
    const { limits, inflate } = this.#source
    const search = new Base64Search(limits)
    const { multiparts, xmls } = this.#read()
    for (const { base64 } of multiparts) for (const { name, value } of base64) search.addDecoded(name, value)
    for (const { declaredBase64 } of xmls)
      for (const { name, value } of declaredBase64) search.add(name, value, true)
    for (const { name, value } of this.args) search.add(name, value, false)
    for (const { texts, attributes } of xmls) {
      for (const { name, value } of texts) search.add(name, value, false)
      for (const { name, value } of attributes) search.add(name, value, false)
    }
    if (this.kind === 'text' || this.kind === 'binary') search.add('', this.text, false)
    for (const { name, value } of search.found.slice()) {
      if (!value.startsWith('\x1f\x8b\x08')) continue
      const { bytes, overRatio } = inflateWithin('gzip', bytesOf(value), inflate, limits)
      if (overRatio) this.#inflateProblem = true
      search.addDecoded(name, byteText(bytes))
    }
    this.#base64Problem = search.exhausted
    return search.found
  }

  #findArchives(): Archives {
    const entries = new Set<string>()
    const problems = new Set<BodyProblem>()
    const { limits } = this.#source
    const look = (bytes: string, complete: boolean): void => {
      if (!hasZip(bytes)) return
      const zip = readZip(bytes, complete, limits)
      for (const entry of zip.entries) entries.add(entry)
      for (const problem of zip.problems) problems.add(problem)
    }
    const { multiparts } = this.#read()
    for (const { files } of multiparts) for (const { content } of files) look(content, this.complete)
    // Fields and loose ends of a multipart body; any other body as a whole.
    if (multiparts.length > 0) for (const { value } of this.args) look(value, false)
    else for (const text of this.#readings()) look(text, this.complete)
    for (const { value } of this.base64) look(value, this.complete)
    return { entries: [...entries], problems }
  }
}

const NO_PROBLEMS: ReadonlySet<BodyProblem> = new Set<BodyProblem>()

function within(field: string, json: JsonParts): JsonParts {
  if (field === '') return json
  const parts = json.parts.map(({ name, value }) => ({
    name: name === '' ? field : `${field}.${name}`,
    value,
  }))
  return { parts, problems: json.problems }
}
