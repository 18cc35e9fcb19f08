// How requests of the corpus are put together: bodies with their content types, queries, archives.
import { crc32, deflateRawSync, gzipSync } from 'node:zlib'
import type { Random } from './random.ts'

/** A request before it has a name: what a template makes. */
export type Draft = {
  readonly method?: string
  readonly target: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Buffer
  /** The client's first messages when the request asks for a WebSocket. */
  readonly messages?: readonly (string | Buffer)[]
}

/** Kinds of RMM traffic, each made anew for every request. */
export type Template = {
  readonly name: string
  /** Profile of the server that it is meant for. */
  readonly profile: Profile
  readonly draft: (random: Random) => Draft
}

/** The shipped profiles, by file name. */
export type Profile =
  'connectwise-automate' | 'screenconnect' | 'kaseya-vsa' | 'n-central' | 'meshcentral' | 'tacticalrmm'

type Fields = Readonly<Record<string, string | number>>
type Headers = Readonly<Record<string, string>>

/** A request with a body of some type. */
export function send(
  target: string,
  type: string,
  body: Buffer | string,
  headers: Headers = {},
  method = 'POST',
): Draft {
  return { method, target, headers: { 'content-type': type, ...headers }, body: Buffer.from(body) }
}

/** A form as browsers send it. */
export function form(target: string, fields: Fields, headers: Headers = {}): Draft {
  return send(target, 'application/x-www-form-urlencoded', encode(fields), headers)
}

/** A JSON body. */
export function json(target: string, value: unknown, headers: Headers = {}, method = 'POST'): Draft {
  return send(target, 'application/json; charset=utf-8', JSON.stringify(value), headers, method)
}

/** A SOAP 1.1 call. */
export function soap(target: string, namespace: string, call: string, fields: Fields): Draft {
  const inner = Object.entries(fields)
    .map(([name, value]) => `<${name}>${xmlText(String(value))}</${name}>`)
    .join('')
  const body = `<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soap:Body><${call} xmlns="${namespace}">${inner}</${call}></soap:Body></soap:Envelope>`
  return send(target, 'text/xml; charset=utf-8', body, { soapaction: `"${namespace}${call}"` })
}

/** A query or form. */
export function encode(fields: Fields): string {
  return new URLSearchParams(
    Object.entries(fields).map(([name, value]): [string, string] => [name, String(value)]),
  ).toString()
}

/** A query as most API clients write it: blanks as %20, quotes left as they are. */
export function query(fields: Fields): string {
  return Object.entries(fields)
    .map(
      ([name, value]) =>
        `${name}=${encodeURI(String(value)).replaceAll('&', '%26').replaceAll('#', '%23').replaceAll('+', '%2B')}`,
    )
    .join('&')
}

/** Text as it stands in XML. */
export function xmlText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

/** Text in base64. */
export function base64(text: string | Buffer): string {
  return Buffer.from(text).toString('base64')
}

/** A part of a multipart body. */
export type FormPart = {
  readonly name: string
  readonly file?: string
  readonly type?: string
  readonly content: Buffer | string
}

/** A multipart form. */
export function multipart(
  random: Random,
  target: string,
  parts: readonly FormPart[],
  headers: Headers = {},
): Draft {
  const boundary = `----WebKitFormBoundary${random.hex(16)}`
  const chunks: Buffer[] = []
  for (const { name, file, type, content } of parts) {
    const fileName = file === undefined ? '' : `; filename="${file.replaceAll('"', '%22')}"`
    const typeLine = type === undefined ? '' : `Content-Type: ${type}\r\n`
    chunks.push(
      Buffer.from(
        `--${boundary}\r\nContent-Disposition: form-data; name="${name}"${fileName}\r\n${typeLine}\r\n`,
      ),
      Buffer.from(content),
      Buffer.from('\r\n'),
    )
  }
  chunks.push(Buffer.from(`--${boundary}--\r\n`))
  return send(target, `multipart/form-data; boundary=${boundary}`, Buffer.concat(chunks), headers)
}

/** A zip archive with deflated entries. */
export function zip(entries: readonly { readonly name: string; readonly content: Buffer }[]): Buffer {
  const files: Buffer[] = []
  const directory: Buffer[] = []
  let offset = 0
  for (const { name, content } of entries) {
    const packed = deflateRawSync(content)
    const nameBytes = Buffer.from(name)
    const facts = Buffer.alloc(26)
    facts.writeUInt16LE(20, 0)
    facts.writeUInt16LE(0x0800, 2)
    facts.writeUInt16LE(8, 4)
    facts.writeUInt32LE(crc32(content), 10)
    facts.writeUInt32LE(packed.length, 14)
    facts.writeUInt32LE(content.length, 18)
    facts.writeUInt16LE(nameBytes.length, 22)
    const local = Buffer.concat([Buffer.from('PK\x03\x04', 'latin1'), facts, nameBytes, packed])
    const tail = Buffer.alloc(14)
    tail.writeUInt32LE(offset, 10)
    files.push(local)
    directory.push(Buffer.concat([Buffer.from('PK\x01\x02\x14\x00', 'latin1'), facts, tail, nameBytes]))
    offset += local.length
  }
  const listed = Buffer.concat(directory)
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06', 0, 'latin1')
  end.writeUInt16LE(entries.length, 8)
  end.writeUInt16LE(entries.length, 10)
  end.writeUInt32LE(listed.length, 12)
  end.writeUInt32LE(offset, 16)
  return Buffer.concat([...files, listed, end])
}

/** Bytes that gzip has packed. */
export function gzip(text: string): Buffer {
  return gzipSync(Buffer.from(text))
}

/** A WebSocket handshake with the first messages that follow it. */
export function socket(
  random: Random,
  target: string,
  messages: readonly (string | Buffer)[],
  headers: Headers = {},
): Draft {
  return {
    target,
    headers: {
      connection: 'Upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': random.bytes(16).toString('base64'),
      ...headers,
    },
    messages,
  }
}
