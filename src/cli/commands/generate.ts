// portcullis generate: writes what is derived from the schema, for developers: JSON Schemas and reference documents.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from '../command.ts'
import { generatedFiles } from '../generated-files.ts'

export const generateCommand: Command = {
  name: 'generate',
  usage: 'generate',
  summary: 'Write JSON Schemas and reference documents anew',
  examples: [],
  options: {},
  run: (_args, { root, terminal }) => {
    for (const { path, text } of generatedFiles(root)) {
      writeFileSync(join(root, path), text)
      terminal.print(path)
    }
    return Promise.resolve(0)
  },
}
