// The catalogue is complete: every event has words, a code, a place in the documents, and labels that cannot explode.
import { readFileSync } from 'node:fs'
import test from 'ava'
import {
  CATALOGUE,
  EVENT_NAMES,
  gatewayTexts,
  sentenceOf,
  sentenceOfRow,
  severityOf,
} from '../../src/journal/catalogue.ts'
import type { EventDefinition } from '../../src/journal/definition.ts'
import { eventsDocument } from '../../src/journal/events-document.ts'
import type { EventName } from '../../src/journal/events.ts'
import { formatGatewayLine } from '../../src/journal/gateway-line.ts'
import { redactFields } from '../../src/journal/redact.ts'
import { EVENT_SAMPLES } from '../support/event-samples.ts'

const definitionOf = (name: EventName): EventDefinition<EventName> =>
  CATALOGUE[name] as EventDefinition<EventName>

for (const name of Object.keys(EVENT_SAMPLES) as EventName[]) {
  test(`${name} has a whole sentence, a severity and bounded labels`, t => {
    const fields = EVENT_SAMPLES[name]
    const sentence = sentenceOf(name, redactFields(fields) as never)
    for (const text of [sentence, ...gatewayTexts(name, fields)]) {
      t.notRegex(text, /undefined|\bnull\b|NaN|\[object|\.\.(?![/.])|\s{2}/, text)
      t.regex(text, /^\S.*\S$/)
    }
    t.regex(sentence, /[.]$/)
    t.true(['debug', 'info', 'warning', 'error'].includes(severityOf(name, fields)))
    const { counter } = definitionOf(name)
    if (counter !== null) {
      const values = counter.values(fields as never)
      t.is(values.length, counter.labels.length)
      t.regex(counter.name, /^portcullis_[a-z_]+_total$/)
      for (const value of values) t.notRegex(value, /203\.0\.113|192\.168|example\.test|^\//)
    }
    t.truthy(sentenceOfRow(name, JSON.parse(JSON.stringify(redactFields(fields)))))
  })
}

test('samples, catalogue and document name the same events, and the document is up to date', t => {
  t.deepEqual(Object.keys(EVENT_SAMPLES).toSorted(), EVENT_NAMES.toSorted())
  const document = readFileSync(new URL('../../docs/events.md', import.meta.url), 'utf8')
  t.deepEqual(
    [...document.matchAll(/^## (.+)$/gm)].map(match => match[1]),
    [...EVENT_NAMES],
  )
  t.is(document, eventsDocument(), 'write it again with `npm run generate`')
})

test('codes are unique and E1 to E18 are covered, each once', t => {
  const codes = EVENT_NAMES.map(name => definitionOf(name).code)
  t.is(new Set(codes).size, codes.length)
  const covered = EVENT_NAMES.flatMap(name => definitionOf(name).covers ?? [])
  t.deepEqual(covered.toSorted(), Array.from({ length: 18 }, (_, index) => `E${index + 1}`).toSorted())
})

test('the gateway log speaks the classic wording, with both addresses', t => {
  const text = (name: EventName): string => gatewayTexts(name, EVENT_SAMPLES[name]).join(' | ')
  t.is(text('listener.opened'), 'Listening on port 443')
  t.is(text('listener.failed'), 'Failed to bind to listening port 443')
  t.is(text('policy.reloading'), 'Reloading configuration')
  t.is(text('keys.reloaded'), 'Reloading Gateway Keys')
  t.is(text('client.connected'), 'Client PC-17 connected')
  t.is(text('operator.disconnected'), 'Control alice disconnected from Client PC-17')
  t.is(
    text('client.key-refused'),
    'Security check failed for Client PC-17 (192.168.1.20). Terminating connection from 203.0.113.7',
  )
  t.regex(
    text('client.capacity-exceeded'),
    /Rejecting connection from Client PC-17 \(192\.168\.1\.20, 203\.0\.113\.7\)$/,
  )
  t.is(
    text('operator.key-mismatch'),
    'Client/Control security check failed for Control alice. Rejecting connection request to Client PC-17 from 203.0.113.7',
  )
  t.is(
    formatGatewayLine(Date.UTC(2014, 0, 29, 16, 11, 20), text('listener.opened')),
    '29-Jan-14, 16:11:20, Listening on port 443',
  )
})

test('a refusal says what was seen, which line decided, what to do, and its reference', t => {
  const sentence = sentenceOf('connection.refused', EVENT_SAMPLES['connection.refused'])
  for (const part of [
    '203.0.113.7',
    'offered TLSv1',
    'policies/portcullis.yaml:12:3',
    'Switch TLS 1.2 on',
    'P7F3-K9QX-M2A',
  ])
    t.true(sentence.includes(part), part)
})

test('rows of other versions have no sentence instead of an exception', t => {
  t.is(sentenceOfRow('no.such-event', {}), undefined)
  t.is(sentenceOfRow('constructor', {}), undefined)
  t.is(sentenceOfRow('policy.loaded', {}), undefined)
})
