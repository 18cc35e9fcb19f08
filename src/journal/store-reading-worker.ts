// The thread that reads the store for pages: a slow question must stall neither the gate nor the thread that writes.
import { statSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { openStoreReader, type StoreReader } from './store-core.ts'
import { problemOf } from './store-database.ts'
import { questionsOf, type Answer, type Question } from './store-questions.ts'

const { file } = workerData as { readonly file: string }
let opened: { readonly reader: StoreReader; readonly inode: number } | null = null

const port = parentPort
port?.on('message', (question: Question) => port.postMessage(answer(question)))

function answer({ id, method, args }: Question): Answer {
  const startedMs = performance.now()
  try {
    const ask = questionsOf(reader())[method] as (...given: readonly unknown[]) => unknown
    return { id, value: ask(...args), tookMs: performance.now() - startedMs }
  } catch (error) {
    return { id, problem: problemOf(error) }
  }
}

/** The open store; opened anew when a damaged file was replaced by a fresh one. */
function reader(): StoreReader {
  const inode = statSync(file, { throwIfNoEntry: false })?.ino ?? 0
  if (opened !== null && opened.inode !== inode) {
    opened.reader.close()
    opened = null
  }
  opened ??= { reader: openStoreReader(file), inode }
  return opened.reader
}
