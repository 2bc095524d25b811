using System;
using System.Collections.Generic;

namespace XenDM.Monitor.Tests;

/// <summary>A session over a connection that the test holds, in front of a machine that writes down what it is told.</summary>
internal sealed class MonitorBench : IDisposable
{
    private int _nextDuplicate = 1000;

    /// <param name="negotiate">Open the connection and leave capability negotiation.</param>
    public MonitorBench(bool negotiate = true)
    {
        Fds = new FdSets(Closed.Add, fd => Duplicates.TryAdd(++_nextDuplicate, fd) ? _nextDuplicate : -1);
        Commands = new QmpCommands(Target, Fds, Closed.Add);
        Events = new QmpEvents(() => (1700000000, 42));
        Target.Events = Events;
        Session = new QmpSession(Client, Commands);
        Events.Add(Session);
        if (!negotiate) return;
        Client.Open();
        Client.Send("""{"execute":"qmp_capabilities"}""");
        Assert.Equal(2, Client.TakeLines().Length);
    }

    public List<int> Closed { get; } = [];

    /// <summary>Duplicate to original.</summary>
    public Dictionary<int, int> Duplicates { get; } = [];

    public FakeTarget Target { get; } = new();

    public FdSets Fds { get; }

    public QmpCommands Commands { get; }

    public QmpEvents Events { get; }

    public FakeChar Client { get; } = new();

    public QmpSession Session { get; }

    public string Ask(string message) => Client.Ask(message);

    public void Dispose()
    {
        Session.Dispose();
        Fds.Dispose();
    }
}
