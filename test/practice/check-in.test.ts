// Check-ins in every spelling, and nothing that is not one.
import test from 'ava'
import { assert, property, string } from 'fast-check'
import { parseCheckIn } from '../../src/practice/check-in.ts'

const none = new URLSearchParams()

for (const [what, body, query] of [
  ['XML', '<CheckIn><AgentId>a-1</AgentId><Name>PC 1</Name></CheckIn>', ''],
  [
    'XML with a declaration',
    '<?xml version="1.0"?>\n<C><ComputerID>a-1</ComputerID><Name>PC 1</Name></C>',
    '',
  ],
  ['a form', 'id=a-1&name=PC+1', ''],
  ['JSON', '{"id":"a-1","name":"PC 1"}', ''],
  ['the query', '', 'id=a-1&name=PC+1'],
] as const) {
  test(`a check-in as ${what} is understood`, t => {
    t.deepEqual(parseCheckIn(body, new URLSearchParams(query)), { id: 'a-1', name: 'PC 1' })
  })
}

test('a check-in without a usable id is none', t => {
  for (const body of [
    '',
    '<x/>',
    '{',
    '[]',
    'null',
    'name=x',
    'id=',
    'id=<script>',
    `id=${'x'.repeat(65)}`,
    '{"id":{}}',
  ]) {
    t.is(parseCheckIn(body, none), undefined, body)
  }
})

test('no text makes reading a check-in throw', t => {
  assert(property(string({ maxLength: 200 }), text => (parseCheckIn(text, none), true)))
  t.pass()
})
