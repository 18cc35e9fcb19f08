// Fields of bodies: the text, what is base64 in it, uploaded files, XML, and what could not be read.
import type { BodyParts, Inspected, Part } from '../parts/inspected.ts'
import { isSecretName } from '../redact.ts'
import type { FieldValue } from '../rule.ts'
import { membersNamed, remembered } from './memo.ts'
import type { FieldSpec, FieldTable, NamedFamily } from './spec.ts'
import { decodedValue, NONE, one, plainValue } from './value.ts'

type ReadBody = (body: BodyParts) => readonly FieldValue[]

function ofBody(read: ReadBody, raw = false): FieldSpec {
  return { phase: 'body', source: 'body', raw, read: ({ body }) => (body === null ? NONE : read(body)) }
}

/** Fields of bodies. */
export const BODY_FIELDS: FieldTable = {
  body: ofBody(body => {
    const spaced = body.kind === 'form' && body.text.includes('+')
    return [decodedValue('body', '', spaced ? body.text.replaceAll('+', ' ') : body.text, false)]
  }),
  'body.raw': ofBody(({ text }) => one('body.raw', text), true),
  // Nobody knows what all that is: it is never shown.
  'body.base64': ofBody(({ base64 }) =>
    base64.map(({ value }) => decodedValue('body.base64', '', value, true, BASE64)),
  ),
  'body.problems': ofBody(({ problems }) => problems.map(problem => plainValue('body.problems', problem))),
  'body.size': ofBody(({ text }) => one('body.size', String(text.length))),
  'files.names': ofBody(({ files }) =>
    files.map(({ fileName }) => decodedValue('files.names', '', fileName, false)),
  ),
  'files.fields': ofBody(({ files }) =>
    files.map(({ field }) => decodedValue('files.fields', '', field, false)),
  ),
  'files.headers': ofBody(({ partHeaders }) =>
    partHeaders.map(({ line }) => decodedValue('files.headers', '', line, false)),
  ),
  'files.heads': ofBody(({ files }) => files.map(({ head }) => decodedValue('files.heads', '', head, false))),
  'files.entries': ofBody(({ archiveEntries }) =>
    archiveEntries.map(entry => decodedValue('files.entries', '', entry, false)),
  ),
  xml: { phase: 'body', source: 'body', read: allXml },
  'xml.elements': ofBody(({ xmlTexts }) => distinctNames('xml.elements', xmlTexts)),
  'xml.attributes': ofBody(({ xmlAttributes }) =>
    xmlAttributes.map(({ name, value }) =>
      decodedValue('xml.attributes', name.toLowerCase(), value, isSecretName(name.toLowerCase())),
    ),
  ),
  'xml.doctype': ofBody(({ xmlDoctype }) =>
    xmlDoctype === null ? NONE : [decodedValue('xml.doctype', '', xmlDoctype, false)],
  ),
}

/** `xml.<local-name>`: the texts of elements of that name. */
export const XML_FAMILY: NamedFamily = {
  prefix: 'xml.',
  spec: name => ({
    phase: 'body',
    source: 'body',
    read: inspected =>
      membersNamed(
        inspected,
        'xml.texts',
        name,
        () => allXmlTexts(inspected),
        value => [value.name],
      ),
  }),
}

const BASE64 = ['base64']

function allXml(inspected: Inspected): readonly FieldValue[] {
  return remembered(inspected, 'xml', () => {
    const attributes = inspected.body?.xmlAttributes ?? []
    return attributes.length === 0
      ? allXmlTexts(inspected)
      : [...allXmlTexts(inspected), ...attributes.map(xmlValue)]
  })
}

function allXmlTexts(inspected: Inspected): readonly FieldValue[] {
  return remembered(inspected, 'xml.texts', () => (inspected.body?.xmlTexts ?? []).map(xmlValue))
}

function xmlValue({ name, value }: Part): FieldValue {
  const folded = name.toLowerCase()
  return decodedValue(`xml.${folded}`, folded, value, isSecretName(folded))
}

function distinctNames(field: string, parts: readonly Part[]): readonly FieldValue[] {
  return [...new Set(parts.map(({ name }) => name.toLowerCase()))].map(name => plainValue(field, name))
}
