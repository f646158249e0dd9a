"""Measures a model as it is served: scenarios in the manner of MLPerf Inference, each valid or not.

    settings     what to run, and the company in which it runs
    rows         the rows to predict: of a table, or drawn like those of training
    models       a model as a worker calls it, and how a worker loads it
    loads        queries one after the other, and requests that arrive at given times
    queueing     arrival times, and the waiting time of an M/D/c queue
    verdict      what makes a measurement valid; percentiles at 99 % confidence
    companions   what else keeps the cores busy
    energy       the energy counter of the processor, where it can be read
    worker       what runs in the processes of the workers
    scenarios    runs a scenario with its workers and companions
    search       the highest rate of requests that meets a deadline
    outcomes     results, costs, and which models no other model beats
    text         results as a table
    plot         the plot of cost and error
    run          several models, several scenarios

It follows the rules of MLPerf Inference where they fit one machine and one minute, but its results are not
MLPerf results. Start with `run`.
"""
