// Fields of bodies: the text, what is base64 in it, uploaded files, XML, and what could not be read.
import type { BodyParts, Inspected, Part } from '../parts/inspected.ts'
import { isSecretName } from '../redact.ts'
import type { FieldValue } from '../rule.ts'
import { membersNamed, remembered } from './memo.ts'
import type { FieldSpec, FieldTable, NamedFamily } from './spec.ts'
import { decodedValue, decodedValues, NONE, one, plainValue } from './value.ts'

type ReadBody = (body: BodyParts) => readonly FieldValue[]

function ofBody(read: ReadBody, raw = false): FieldSpec {
  return { phase: 'body', source: 'body', raw, read: ({ body }) => (body === null ? NONE : read(body)) }
}

/** Fields of bodies. */
export const BODY_FIELDS: FieldTable = {
  body: ofBody(({ text, kind }) => [
    decodedValue('body', '', text, false, kind === 'form' ? 'form-text' : 'text'),
  ]),
  'body.raw': ofBody(({ text }) => one('body.raw', text), true),
  // Nobody knows what all that is: it is never shown.
  'body.base64': ofBody(({ base64 }) =>
    base64.flatMap(({ value }) => decodedValues('body.base64', '', value, true, BASE64)),
  ),
  'body.problems': ofBody(({ problems }) => problems.map(problem => plainValue('body.problems', problem))),
  'body.size': ofBody(({ text }) => one('body.size', String(text.length))),
  'files.names': ofBody(({ files }) =>
    files.flatMap(({ names }) => names.flatMap(name => decodedValues('files.names', '', name, false))),
  ),
  'files.fields': ofBody(({ files }) =>
    files.flatMap(({ field }) => decodedValues('files.fields', '', field, false)),
  ),
  'files.headers': ofBody(({ partHeaders }) =>
    partHeaders.flatMap(({ line }) => decodedValues('files.headers', '', line, false)),
  ),
  'files.heads': ofBody(({ files }) => files.map(({ head }) => decodedValue('files.heads', '', head, false))),
  'files.entries': ofBody(({ archiveEntries }) =>
    archiveEntries.flatMap(entry => decodedValues('files.entries', '', entry, false)),
  ),
  xml: { phase: 'body', source: 'body', read: allXml },
  'xml.elements': ofBody(({ xmlElements }) =>
    [...new Set(xmlElements.map(name => name.toLowerCase()))].map(name => plainValue('xml.elements', name)),
  ),
  'xml.attributes': ofBody(({ xmlAttributes }) =>
    xmlAttributes.flatMap(({ name, value }) =>
      decodedValues('xml.attributes', name.toLowerCase(), value, isSecretName(name.toLowerCase())),
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
        own => [own],
      ),
  }),
}

const BASE64 = ['base64']

function allXml(inspected: Inspected): readonly FieldValue[] {
  return remembered(inspected, 'xml', () => {
    const attributes = inspected.body?.xmlAttributes ?? []
    return attributes.length === 0
      ? allXmlTexts(inspected)
      : [...allXmlTexts(inspected), ...attributes.flatMap(xmlValue)]
  })
}

function allXmlTexts(inspected: Inspected): readonly FieldValue[] {
  return remembered(inspected, 'xml.texts', () => (inspected.body?.xmlTexts ?? []).flatMap(xmlValue))
}

function xmlValue({ name, value }: Part): readonly FieldValue[] {
  const folded = name.toLowerCase()
  return decodedValues(`xml.${folded}`, folded, value, isSecretName(folded))
}
