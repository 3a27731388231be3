# SPDX-License-Identifier: LGPL-2.1-or-later
# fish completion for dhetcd(1).

function __dhetcd_verb --description 'the verb of the command line'
    for word in (commandline -opc)[2..]
        if contains -- $word list add cluster plan check doctor schedule unschedule show report watch cancel rollback settle config rescue trust cnf install grow
            echo $word
            return
        end
    end
end

function __dhetcd_is --description 'the verb is one of these'
    contains -- (__dhetcd_verb)x $argv'x'
end

function __dhetcd_takes --description 'the same, or there is none yet'
    test -z "$(__dhetcd_verb)"; or __dhetcd_is $argv
end

function __dhetcd_cnf --description 'what follows "cnf": nothing yet, or this word'
    __dhetcd_is cnf; or return 1
    set -l words (commandline -opc | string match --invert -- '-*')
    test "$words[3]" = "$argv"
end

function __dhetcd_jobs --description 'jobs, of the states that are named'
    for line in (dhetcd --no-legend --no-ask-password list 2>/dev/null)
        set -l words (string split --no-empty ' ' -- $line)
        if test (count $argv) -eq 0; or contains -- $words[2] $argv
            printf '%s\t%s\n' $words[1] $words[2]
        end
    end
end

function __dhetcd_installs
    dhetcd --no-legend --no-ask-password install --list 2>/dev/null | awk '$2 == "running" { print $1 "\tinstaller" }'
end

function __dhetcd_hosts
    dhetcd --no-legend trust --list 2>/dev/null | cut -d ' ' -f 1 | tr , '\n' |
        sed '/[(*?!]/d; s/^\[\(.*\)\]:[0-9]*$/\1/' | sort -u
end

function __dhetcd_scheduled
    dhetcd --json=short --no-ask-password schedule 2>/dev/null | string match --all --regex --groups-only '"nodes":\["([^"]*)'
end

complete -c dhetcd --no-files
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a list -d 'List the jobs'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a add -d 'Add hosts to the etcd cluster'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a cluster -d 'Show the members and their status'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a 'plan check' -d 'Show what add would do'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a doctor -d 'Find what is wrong'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a schedule -d 'Add hosts at a date'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a unschedule -d 'Take a schedule back'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a show -d 'Show one job'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a report -d 'Write a job as one HTML page'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a watch -d 'Follow a job, or a run of the installer'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a cancel -d 'Cancel a job, or a run of the installer'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a rollback -d 'Take the nodes of a finished job out again'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a settle -d 'Bring a stuck job to an end'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a config -d 'Show the configuration'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a rescue -d 'The quorum is lost: go on alone'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a trust -d 'Pin a host\'s ssh key'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a cnf -d 'Show, extend, check cluster.cnf'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a install -d 'Run the installer'
complete -c dhetcd -n 'test -z (__dhetcd_verb)' -a grow -d 'Do the whole page'

complete -c dhetcd -n '__dhetcd_is add plan check schedule trust grow; or __dhetcd_cnf add' -a '(__dhetcd_hosts)'
complete -c dhetcd -n '__dhetcd_cnf ""' -a 'show add check'
complete -c dhetcd -n '__dhetcd_is unschedule' -a '(__dhetcd_scheduled)'
complete -c dhetcd -n '__dhetcd_is show report' -a '(__dhetcd_jobs)'
complete -c dhetcd -n '__dhetcd_is watch' -a '(__dhetcd_jobs; __dhetcd_installs)'
complete -c dhetcd -n '__dhetcd_is cancel' -a '(__dhetcd_jobs running queued; __dhetcd_installs)'
complete -c dhetcd -n '__dhetcd_is rollback' -a '(__dhetcd_jobs committed stuck)'
complete -c dhetcd -n '__dhetcd_is settle rescue' -a '(__dhetcd_jobs stuck)'

complete -c dhetcd -n '__dhetcd_takes add plan check schedule grow' -l no-wait -d 'Refuse where another job runs or waits'
complete -c dhetcd -n '__dhetcd_takes add rollback settle rescue doctor install grow' -l no-block -d 'Do not wait for the end of the job'
complete -c dhetcd -n '__dhetcd_takes add plan check schedule grow' -l restart -x -a 'needed always' -d 'Which members are restarted'
complete -c dhetcd -n '__dhetcd_takes add plan check schedule grow' -l move-data-aside -d 'Move a data directory in use aside'
complete -c dhetcd -n '__dhetcd_takes add plan check schedule grow' -l require-odd -d 'Refuse an even number of members'
complete -c dhetcd -n '__dhetcd_takes add plan check schedule grow' -l policy -x -a 'all keep' -d 'What becomes of earlier nodes'
complete -c dhetcd -n '__dhetcd_takes rollback' -l force -d 'Though files were changed since'
complete -c dhetcd -n '__dhetcd_takes settle' -l all -d 'All that a crash left open'
complete -c dhetcd -n '__dhetcd_takes settle' -l takeover -d 'A job whose own host never comes back'
complete -c dhetcd -n '__dhetcd_takes rescue' -l yes-i-lose-quorum -d 'Do the rescue'
complete -c dhetcd -n '__dhetcd_takes rescue' -l from-snapshot -r -F -a '(__dhetcd_jobs)' -d 'Restore a snapshot'
complete -c dhetcd -n '__dhetcd_takes schedule' -l on -x -d 'When: "Sat 02:00"'
complete -c dhetcd -n '__dhetcd_takes add plan check schedule grow' -l until -x -d 'The end of the window: 05:00'
complete -c dhetcd -n '__dhetcd_takes schedule' -l no-check -d 'Do not check everything now'
complete -c dhetcd -n '__dhetcd_takes trust' -l fingerprint -x -d 'Accept this key alone'
complete -c dhetcd -n '__dhetcd_takes trust' -l yes -d 'Accept what the host offers, unseen'
complete -c dhetcd -n '__dhetcd_takes trust install' -l list -d 'Show the keys that are known, or the earlier runs'
complete -c dhetcd -n '__dhetcd_takes trust' -l remove -d 'Forget the keys of a host'
complete -c dhetcd -n '__dhetcd_takes cnf' -l file -r -F -d 'This cluster.cnf'
complete -c dhetcd -n '__dhetcd_takes cnf install grow' -l installer-dir -x -a '(__fish_complete_directories)' -d 'The folder of the installer'
complete -c dhetcd -n '__dhetcd_takes cnf' -l role -x -a 'QUERY MERGE INFRA' -d 'A role of new nodes besides ETCD'
complete -c dhetcd -n '__dhetcd_takes cnf' -l host-key -x -d 'DH_NODE_n_KEY names a host'
complete -c dhetcd -n '__dhetcd_takes cnf' -l dry-run -d 'Only show what would be changed'
complete -c dhetcd -n '__dhetcd_takes install' -l expect -x -a etcd-setup-check -d 'The expected failure is a success'
complete -c dhetcd -n '__dhetcd_takes doctor' -l fix -d 'Mend what is safe to mend'
complete -c dhetcd -l json -x -a 'pretty short off' -d 'Output as JSON'
complete -c dhetcd -s H -l host -x -a '(__dhetcd_hosts)' -d 'Ask the dhetcdd of another host'
complete -c dhetcd -l no-pager -d 'Do not pipe output into a pager'
complete -c dhetcd -l no-legend -d 'No headings and hints'
complete -c dhetcd -l no-ask-password -d 'Do not ask for passwords'
complete -c dhetcd -s q -l quiet -d 'No lines while a job runs'
complete -c dhetcd -s h -l help -d 'Show the help'
complete -c dhetcd -l version -d 'Show the version'
