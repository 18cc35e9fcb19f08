// Where the store lies: the gate writes it, commands read it.
import { join } from 'node:path'

/** The store in a state directory. */
export function storeFile(stateDirectory: string): string {
  return join(stateDirectory, 'journal.sqlite')
}
