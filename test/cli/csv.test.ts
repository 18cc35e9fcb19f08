// CSV as it comes from RMM exports, and as it goes to spreadsheets.
import test from 'ava'
import * as fc from 'fast-check'
import { csvLine, CSV_LIMITS, readCsv } from '../../src/cli/csv.ts'

test('what is written is read again', t => {
  const cell = fc
    .string({ unit: 'grapheme', maxLength: 20 })
    .map(text => text.replaceAll(/\p{Cc}/gu, '').trim())
  fc.assert(
    fc.property(
      fc.array(fc.array(cell, { minLength: 2, maxLength: 4 }), { minLength: 1, maxLength: 6 }),
      rows => {
        const [first = []] = rows
        // The first line decides what separates cells.
        fc.pre(first.every(text => !/[,;\t"]/.test(text)))
        const read = readCsv(rows.map(row => csvLine(row)).join('\r\n'))
        const shown = rows.map(row => row.map(text => (/^[=+\-@]/.test(text) ? `'${text}` : text)))
        t.deepEqual(read, shown)
      },
    ),
  )
})

test('exports of all kinds are read', t => {
  t.deepEqual(readCsv('\ufeffName;IP\r\n"A; B";1.2.3.4\r\n'), [
    ['Name', 'IP'],
    ['A; B', '1.2.3.4'],
  ])
  t.deepEqual(readCsv('a\tb\nc\td'), [
    ['a', 'b'],
    ['c', 'd'],
  ])
  t.deepEqual(readCsv('"say ""hi""",x\n\n,\n'), [
    ['say "hi"', 'x'],
    ['', ''],
  ])
  t.deepEqual(readCsv('"two\nlines",x'), [['two\nlines', 'x']])
  t.deepEqual(readCsv(''), [])
})

test('broken or endless text is refused with its row, never thrown', t => {
  t.like(readCsv('a,b\n"open'), { row: 2 })
  t.like(readCsv('a,b\n"x"y,z'), { row: 2 })
  t.like(readCsv(`a,b\n${'x'.repeat(CSV_LIMITS.cell + 1)}`), { row: 2 })
  t.like(readCsv(','.repeat(CSV_LIMITS.columns + 1)), { row: 1 })
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 300 }), text => {
      const read = readCsv(text)
      t.true(Array.isArray(read) || 'row' in read)
    }),
  )
})
