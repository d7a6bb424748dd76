;; The guest of the tests: one action per line of the table in `run`. What it says is JSON put together from pieces.
(module
  (import "sengu:worker/clock@1.0.0" "sleep-ms" (func $sleep (param i64) (result i32)))
  (import "sengu:worker/report@1.0.0" "log" (func $log (param i32 i32 i32)))
  (import "sengu:worker/report@1.0.0" "last-words" (func $last_words (param i32 i32)))
  (import "sengu:worker/memory@1.0.0" "get" (func $get (param i32 i32 i32)))
  (import "sengu:worker/memory@1.0.0" "put" (func $put (param i32 i32 i32 i32 i64) (result i32)))
  (import "sengu:worker/http@1.0.0" "send"
    (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i64 i32 i32)))
  (import "sengu:worker/tcp@1.0.0" "[static]connection.open" (func $open (param i64 i32)))
  (import "sengu:worker/tcp@1.0.0" "[method]connection.write"
    (func $write (param i32 i32 i32 i64 i32)))
  (import "sengu:worker/tcp@1.0.0" "[method]connection.read"
    (func $read (param i32 i32 i64 i32)))
  (import "sengu:worker/tcp@1.0.0" "[resource-drop]connection" (func $close (param i32)))

  (memory (export "memory") 1)
  ;; Below 4096 is what stays; the answer is put together from there on upwards.
  (data (i32.const 16) "{\22status\22:\22done\22,\22changed\22:false,\22result\22:")
  (data (i32.const 128) "{\22status\22:\22failed\22,\22code\22:\22refused\22,\22message\22:\22")
  (data (i32.const 256) "\22}")
  (data (i32.const 272) "on purpose")
  (data (i32.const 288) "GET")
  (data (i32.const 296) "POST")
  (data (i32.const 304) "one line of a log")
  (data (i32.const 336) "[false]")
  (data (i32.const 344) "[true]")
  (data (i32.const 352) "key")
  (data (i32.const 360) "null")
  (data (i32.const 368) "{\22n\22:1}")
  (data (i32.const 384) "x-guest")
  (data (i32.const 392) "host")

  (global $free (mut i32) (i32.const 65536))
  (global $end (mut i32) (i32.const 0))
  (global $start (mut i32) (i32.const 0))

  (func $realloc (export "cabi_realloc") (param $old i32) (param $old_size i32) (param $align i32)
    (param $size i32) (result i32)
    (local $at i32)
    (local.set $at
      (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
    (global.set $free (i32.add (local.get $at) (local.get $size)))
    (block $enough
      (loop $more
        (br_if $enough
          (i32.le_u (global.get $free) (i32.mul (memory.size) (i32.const 65536))))
        (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))
        (br $more)))
    (memory.copy (local.get $at) (local.get $old) (local.get $old_size))
    (local.get $at))

  (func $begin (param $bytes i32)
    (global.set $start
      (call $realloc (i32.const 0) (i32.const 0) (i32.const 1)
        (i32.add (local.get $bytes) (i32.const 1024))))
    (global.set $end (global.get $start)))
  (func $add (param $at i32) (param $bytes i32)
    (memory.copy (global.get $end) (local.get $at) (local.get $bytes))
    (global.set $end (i32.add (global.get $end) (local.get $bytes))))
  (func $add_byte (param $byte i32)
    (i32.store8 (global.get $end) (local.get $byte))
    (global.set $end (i32.add (global.get $end) (i32.const 1))))
  ;; Without what would have to be escaped.
  (func $add_text (param $at i32) (param $bytes i32)
    (local $byte i32)
    (block $end
      (loop $next
        (br_if $end (i32.eqz (local.get $bytes)))
        (local.set $byte (i32.load8_u (local.get $at)))
        (call $add_byte
          (select (i32.const 39) (local.get $byte)
            (i32.or (i32.eq (local.get $byte) (i32.const 34))
              (i32.eq (local.get $byte) (i32.const 92)))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (local.set $bytes (i32.sub (local.get $bytes) (i32.const 1)))
        (br $next))))
  (func $answer (result i32)
    (i32.store (i32.const 0) (global.get $start))
    (i32.store (i32.const 4) (i32.sub (global.get $end) (global.get $start)))
    (i32.const 0))

  ;; done with these bytes as the result
  (func $done (param $at i32) (param $bytes i32) (result i32)
    (call $begin (local.get $bytes))
    (call $add (i32.const 16) (i32.const 42))
    (call $add (local.get $at) (local.get $bytes))
    (call $add_byte (i32.const 125))
    (call $answer))

  ;; refused, with two digits and a text
  (func $refused (param $one i32) (param $two i32) (param $at i32) (param $bytes i32) (result i32)
    (call $begin (local.get $bytes))
    (call $add (i32.const 128) (i32.const 47))
    (call $add_byte (i32.add (local.get $one) (i32.const 48)))
    (call $add_byte (i32.add (local.get $two) (i32.const 48)))
    (call $add_byte (i32.const 32))
    (call $add_text (local.get $at) (local.get $bytes))
    (call $add (i32.const 256) (i32.const 2))
    (call $answer))

  ;; One header, `x-guest: on purpose`, or a forbidden one when the path begins with /forbidden.
  (func $http (param $path i32) (param $bytes i32) (param $method i32) (param $method_bytes i32)
    (result i32)
    (local $at i32)
    (i32.store (i32.const 512) (i32.const 384))
    (i32.store (i32.const 516) (i32.const 7))
    (if (i32.eq (i32.load8_u (i32.add (local.get $path) (i32.const 1))) (i32.const 102))
      (then
        (i32.store (i32.const 512) (i32.const 392))
        (i32.store (i32.const 516) (i32.const 4))))
    (i32.store (i32.const 520) (i32.const 272))
    (i32.store (i32.const 524) (i32.const 10))
    (call $send (local.get $method) (local.get $method_bytes)
      (local.get $path) (local.get $bytes) (i32.const 512) (i32.const 1)
      (i32.const 272) (select (i32.const 10) (i32.const 0) (i32.eq (local.get $method_bytes) (i32.const 4)))
      (i64.const 0) (i32.const 100000) (i32.const 1024))
    (if (i32.load8_u (i32.const 1024))
      (then
        (if (i32.eqz (i32.load8_u (i32.const 1028)))
          (then (return (call $refused (i32.const 0) (i32.load8_u (i32.const 1032))
            (i32.load (i32.const 1036)) (i32.load (i32.const 1040))))))
        (return (call $refused (i32.load8_u (i32.const 1028)) (i32.const 9)
          (i32.load (i32.const 1032)) (i32.load (i32.const 1036))))))
    ;; [status, body]
    (local.set $at (i32.load16_u (i32.const 1028)))
    (call $begin (i32.load (i32.const 1044)))
    (call $add (i32.const 16) (i32.const 42))
    (call $add_byte (i32.const 91))
    (call $add_byte (i32.add (i32.div_u (local.get $at) (i32.const 100)) (i32.const 48)))
    (call $add_byte (i32.add (i32.rem_u (i32.div_u (local.get $at) (i32.const 10)) (i32.const 10)) (i32.const 48)))
    (call $add_byte (i32.add (i32.rem_u (local.get $at) (i32.const 10)) (i32.const 48)))
    (call $add_byte (i32.const 44))
    (call $add (i32.load (i32.const 1040)) (i32.load (i32.const 1044)))
    (call $add_byte (i32.const 93))
    (call $add_byte (i32.const 125))
    (call $answer))

  ;; Sends the params and gives back what comes first.
  (func $tcp (param $at i32) (param $bytes i32) (result i32)
    (local $connection i32)
    (call $open (i64.const 0) (i32.const 1024))
    (if (i32.load8_u (i32.const 1024))
      (then (return (call $refused (i32.const 0) (i32.load8_u (i32.const 1028))
        (i32.load (i32.const 1032)) (i32.load (i32.const 1036))))))
    (local.set $connection (i32.load (i32.const 1028)))
    (call $write (local.get $connection) (local.get $at) (local.get $bytes) (i64.const 0)
      (i32.const 1024))
    (if (i32.load8_u (i32.const 1024))
      (then (return (call $refused (i32.const 1) (i32.load8_u (i32.const 1028))
        (i32.load (i32.const 1032)) (i32.load (i32.const 1036))))))
    (call $read (local.get $connection) (i32.const 4096) (i64.const 0) (i32.const 1024))
    (if (i32.load8_u (i32.const 1024))
      (then (return (call $refused (i32.const 2) (i32.load8_u (i32.const 1028))
        (i32.load (i32.const 1032)) (i32.load (i32.const 1036))))))
    (call $close (local.get $connection))
    (call $done (i32.load (i32.const 1028)) (i32.load (i32.const 1032))))

  (func (export "run") (param $task i32) (result i32)
    (local $action i32) (local $key i32) (local $params i32) (local $bytes i32)
    (local.set $action (i32.load offset=8 (local.get $task)))
    ;; The first two letters and the length tell actions apart.
    (local.set $key
      (i32.add (i32.mul (i32.load16_u (local.get $action)) (i32.const 256))
        (i32.load offset=12 (local.get $task))))
    (local.set $params (i32.load offset=16 (local.get $task)))
    (local.set $bytes (i32.load offset=20 (local.get $task)))
    ;; mirror
    (if (i32.eq (local.get $key) (i32.const 0x696d06))
      (then (return (call $done (local.get $params) (local.get $bytes)))))
    ;; spin
    (if (i32.eq (local.get $key) (i32.const 0x707304)) (then (loop $on (br $on))))
    ;; trap
    (if (i32.eq (local.get $key) (i32.const 0x727404)) (then (unreachable)))
    ;; words: trap with last words
    (if (i32.eq (local.get $key) (i32.const 0x6f7705))
      (then (call $last_words (i32.const 272) (i32.const 10)) (unreachable)))
    ;; allocate: until there is no more
    (if (i32.eq (local.get $key) (i32.const 0x6c6108))
      (then (loop $more
        (drop (call $realloc (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1048576)))
        (br $more))))
    ;; deep: recursion without end
    (if (i32.eq (local.get $key) (i32.const 0x656404)) (then (call $deep)))
    ;; wait: sleeps an hour, and says whether it slept through
    (if (i32.eq (local.get $key) (i32.const 0x617704))
      (then
        (if (call $sleep (i64.const 3600000))
          (then (return (call $done (i32.const 344) (i32.const 6)))))
        (return (call $done (i32.const 336) (i32.const 7)))))
    ;; log
    (if (i32.eq (local.get $key) (i32.const 0x6f6c03))
      (then
        (call $log (i32.const 2) (i32.const 304) (i32.const 17))
        (return (call $done (local.get $params) (local.get $bytes)))))
    ;; junk: an answer that is no outcome
    (if (i32.eq (local.get $key) (i32.const 0x756a04))
      (then
        (call $begin (i32.const 0))
        (call $add (i32.const 272) (i32.const 10))
        (return (call $answer))))
    ;; keep: what was kept before, then keeps {"n":1}
    (if (i32.eq (local.get $key) (i32.const 0x656b04))
      (then
        (call $get (i32.const 352) (i32.const 3) (i32.const 1024))
        (drop (call $put (i32.const 352) (i32.const 3) (i32.const 368) (i32.const 7)
          (i64.const 60000)))
        (if (i32.load8_u (i32.const 1024))
          (then (return (call $done (i32.load (i32.const 1028)) (i32.load (i32.const 1032))))))
        (return (call $done (i32.const 360) (i32.const 4)))))
    ;; get, post: params are the path as a JSON string
    (if (i32.eq (local.get $key) (i32.const 0x656703))
      (then (return (call $http (i32.add (local.get $params) (i32.const 1))
        (i32.sub (local.get $bytes) (i32.const 2)) (i32.const 288) (i32.const 3)))))
    (if (i32.eq (local.get $key) (i32.const 0x6f7004))
      (then (return (call $http (i32.add (local.get $params) (i32.const 1))
        (i32.sub (local.get $bytes) (i32.const 2)) (i32.const 296) (i32.const 4)))))
    ;; post-trap: the same, and then it traps
    (if (i32.eq (local.get $key) (i32.const 0x6f7009))
      (then
        (drop (call $http (i32.add (local.get $params) (i32.const 1))
          (i32.sub (local.get $bytes) (i32.const 2)) (i32.const 296) (i32.const 4)))
        (unreachable)))
    ;; tcp
    (if (i32.eq (local.get $key) (i32.const 0x637403))
      (then (return (call $tcp (local.get $params) (local.get $bytes)))))
    (call $refused (i32.const 0) (i32.const 0) (local.get $action) (i32.const 0)))

  (func $deep (call $deep) (call $deep)))
