// Notes of what a trial lets pass: the first at once, more within the hour together, and no more memory than is stated.
import test from 'ava'
import type { EventFields } from '../../src/journal/events.ts'
import { TrialNotes } from '../../src/edge/trial-notes.ts'
import type { WouldBe } from '../../src/policy/trial.ts'
import { standingOf } from '../../src/policy/who.ts'
import { at, emptyOverlay, snapshot, source } from '../support/snapshot.ts'

const HOUR_MS = 3_600_000
const trial = {
  stages: new Set(['country'] as const),
  sites: null,
  listeners: null,
  expiresMs: 9e12,
  at: at(30),
}
const wouldBe: WouldBe = { reason: 'country-refused', stage: 'country', saw: 'CN', line: at(2), trial }
const whole = snapshot({ trials: [trial] })

function notes() {
  const told: EventFields['trial.admitted'][] = []
  const made = new TrialNotes({ report: (_name, fields) => void told.push(fields as never) })
  const note = (address: string, trafficClass: 'agent' | 'console', nowMs: number): void => {
    const standing = standingOf(whole, emptyOverlay(), source(address, 'CN'), nowMs)
    made.note(wouldBe, { standing, port: 1, listener: 'https', class: trafficClass, host: 'h' }, nowMs)
  }
  return { told, note }
}

test('the first of a source and class is told at once, what follows once an hour, whoever stopped begins anew', t => {
  const { told, note } = notes()
  for (let ms = 0; ms < HOUR_MS; ms += 60_000) note('203.0.113.9', 'agent', ms)
  note('203.0.113.9', 'console', 1)
  note('203.0.113.10', 'agent', 2)
  t.deepEqual(
    told.map(entry => [entry.address, entry.class, entry.count]),
    [
      ['203.0.113.9', 'agent', 1],
      ['203.0.113.9', 'console', 1],
      ['203.0.113.10', 'agent', 1],
    ],
  )
  t.like(told[0], {
    line: 'policies/portcullis.yaml:2:1',
    trial: 'policies/portcullis.yaml:30:1',
    country: 'CN',
  })
  note('203.0.113.9', 'agent', HOUR_MS)
  t.deepEqual(
    told.slice(3).map(entry => entry.count),
    [59],
  )
  note('203.0.113.10', 'agent', 5 * HOUR_MS)
  t.deepEqual(
    told.slice(4).map(entry => [entry.address, entry.count]),
    [
      ['203.0.113.9', 1],
      ['203.0.113.10', 1],
    ],
  )
})

test('a flood of sources takes no more memory than 20,000 notes; those beyond are told one by one', t => {
  const { told, note } = notes()
  const each = (nowMs: number): void => {
    for (let n = 0; n < 25_000; n++) note(`203.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, 'agent', nowMs)
  }
  each(0)
  t.is(told.length, 25_000)
  each(1)
  t.is(told.length, 30_000)
})
