# tern chat: from a pipe, and on a terminal.
. tests/e2e/lib.sh
jinja='{% for m in messages %}{{m.content}} {% endfor %}'
chat="chat $small --temp 0 -n 8 -ctk f16 -ctv f16" # greedy text of the reference

# A pipe: its text is one message.
printf 'Once upon\na time\n' | "$TERN" $chat --chat-template "$jinja" >"$out" 2>"$err"
status=$?
last='tern chat <pipe'
has_status 0
err_empty
[ "$(wc -l <"$out")" = 1 ]
ok $? 'more than the answer'
printf 'Once upon a time' | "$TERN" $chat --chat-template "$jinja" --json >"$out" 2>"$err"
json_is 8 generated_tokens
fails_with 2 'empty' chat $small --chat-template "$jinja"
fails_with 3 'no chat template' chat $small
fails_with 3 'tern run -no-cnv' chat $small

# On a terminal.
dialogue $chat --chat-template "$jinja" <<'END'
wait /help lists commands
wait >>>
send Once upon a time\n
wait tok/s
wait >>>
send /tokens\n
wait 2 messages
wait >>>
send /undo\n
wait gone
wait >>>
send /tokens\n
wait 0 messages
wait >>>
send /nonsense\n
wait unknown command /nonsense
wait >>>
send /set top_k 5\n
wait >>>
send /set\n
wait top-k              5
wait >>>
send /set spec off\n
wait >>>
send /set\n
wait spec               off
wait >>>
send /set top_p 7\n
wait from 0 to 1
wait >>>
send /set model x\n
wait no setting
wait >>>
send /system Be kind.\n
wait system message set
wait >>>
send /show\n
wait system: Be kind.
wait >>>
send /clear\n
wait new conversation
wait >>>
send /regen\n
wait no question
wait >>>
send /help\n
wait Ctrl-C
wait >>>
send """one\n
wait ...
send two"""\n
wait tok/s
wait >>>
send three \\\n
wait ...
send four\n
wait tok/s
wait >>>
send /show\n
wait user: one
wait two
wait user: three
wait four
wait >>>
send /bye\n
end 0
END
# With line editing: completion, and a history for the owner alone.
run version --json
if [ "$("$E2E_JSON" libedit <"$out")" = true ]; then
    dialogue $chat --chat-template "$jinja" <<'END'
wait >>>
send /sta\t\n
wait 0 answers
wait >>>
send /t\t\n
wait 0 messages
wait >>>
send Hello\n
wait tok/s
wait >>>
send /q\t\n
end 0
END
    [ "$(stat -c %a "$tmp/state/tern/history" 2>/dev/null)" = 600 ]
    ok $? 'history is not there for the owner alone'
    grep -q Hello "$tmp/state/tern/history"
    ok $? 'history lacks a line'
fi

# Save and load; the file is JSON, private, and replaced whole.
dialogue $chat --chat-template "$jinja" --no-history <<END
wait >>>
send /load $tmp/none\n
wait No such file
wait >>>
send Once upon a time\n
wait tok/s
wait >>>
send /save $tmp/talk.json\n
wait 2 messages written
wait >>>
send /save $tmp/nowhere/talk.json\n
wait cannot write
wait >>>
send /clear\n
wait new
wait >>>
send /load $tmp/talk.json\n
wait 2 messages read
wait >>>
send /regen\n
wait tok/s
wait >>>
send /read $tmp/talk.json\n
wait tok/s
wait >>>
send /tokens\n
wait 4 messages
wait >>>
send \\^D
end 0
END
[ "$(stat -c %a "$tmp/talk.json")" = 600 ]
ok $? 'the file is not private'
cp "$tmp/talk.json" "$out"
json_is user messages 0 role
json_is 'Once upon a time' messages 0 content
json_is assistant messages 1 role
printf '{"messages":[{"role":"robot","content":"x"}]}' >"$tmp/bad.json"
printf '{"messages":[' >"$tmp/cut.json"
dialogue $chat --chat-template "$jinja" --no-history <<END
wait >>>
send /load $tmp/bad.json\n
wait messages[0].role
wait >>>
send /load $tmp/cut.json\n
wait line 1
wait >>>
send /exit\n
end 0
END

# Ctrl-C stops an answer and keeps it; at the prompt the second one leaves.
dialogue chat $small --chat-template "$jinja" --no-history -q -c 1000000 --ignore-eos --temp 0 <<'END'
wait >>>
send Once upon a time\n
wait One day
send \^C
wait >>>
send /tokens\n
wait 2 messages
wait >>>
send \^C
wait again
wait >>>
send \^C
end 130
END

# A full context is told and does not end the chat.
dialogue chat $small --chat-template "$jinja" --no-history -c 24 --temp 0 --ignore-eos <<'END'
wait >>>
send Once upon a time\n
wait tok/s
wait >>>
send and then there was a little girl named Lily who liked to play\n
wait /clear
wait >>>
send /clear\n
wait new
wait >>>
send Once\n
wait tok/s
wait >>>
send \^D
end 0
END

# First message from -p, one turn.
dialogue chat $small --chat-template "$jinja" -p 'Once upon a time' -st --temp 0 -n 8 -ctk f16 -ctv f16 <<'END'
wait Anna and her
end 0
END

# Standard output carries the answers alone, also from a terminal.
dialogue $chat --chat-template "$jinja" --color never --no-history -q <<'END'
wait >>>
send Once upon a time\n
wait Anna and her
wait >>>
send /quit\n
end 0
END
finish
