// One job of a person at the console, as a test: it gets a logged-in browser, and fails too when a page did what no page may.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loggedIn, picture, profile } from './rig.mjs'

/** `role` is null for somebody who is not logged in; with a `name` the audit knows who it is. */
export function job(claim, { role = 'operator', look = {}, name }, work) {
  test(claim, async () => {
    const context = role === null ? await profile(look) : await loggedIn(role, look, name)
    try {
      await work(context)
      assert.deepEqual(context.wrong, [])
    } catch (error) {
      await picture(context, claim)
      if (context.wrong.length > 0) console.error(context.wrong.join('\n'))
      throw error
    } finally {
      await context.close()
    }
  })
}
