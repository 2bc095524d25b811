using System;
using System.Globalization;
using XenDM.PvBackends.Tests.Block;
using XenDM.Testing;

namespace XenDM.PvBackends.Tests.XenBus;

/// <summary>Front ends that write into xenstore what they like, when they like.</summary>
public sealed class HostileStoreTests
{
    private const int Id = 51712;

    private static readonly string[] s_nodes = ["state", "ring-ref", "ring-ref0", "ring-ref1", "ring-page-order", "event-channel", "multi-queue-num-queues", "protocol", "feature-persistent", "queue-0/ring-ref", "queue-0/event-channel", "queue-1/ring-ref0", "backend", "backend-id", "other/deep/down"];

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void StatesAndNodesInAnyOrder(int seed)
    {
        var random = new Random(seed);
        using var machine = new PvMachine();
        machine.GuestAllowed = false;
        var (disk, front) = machine.AddDisk(FrontPatterns.Get("linux"));
        var (neighbour, other) = machine.Connect(FrontPatterns.Get("gplpv-64"), id: 51728);
        neighbour.Data[0] = 9;
        machine.Pump();
        front.MakeRings();
        var (connected, data) = (0, new byte[512]);
        for (var round = 0; round < 4000; round++)
        {
            var writes = random.Next(1, 4);
            for (var n = 0; n < writes; n++) Abuse(machine, front, random);
            var before = machine.Xen.Store.Changes;
            if (random.Next(3) > 0) machine.Pump();

            // Each change of the guest's causes a few of ours, not a chain without end.
            Assert.InRange(machine.Xen.Store.Changes - before, 0, 40);
            Assert.InRange(machine.Bus.Devices.Count, 2, 2);
            Assert.InRange(machine.Xen.Grants.Mapped, 0, (16 * 4) + 16);
            Assert.InRange(machine.Xen.Events.Bound, 0, 5);
            if (front.BackState == 4) connected++;
            if (round % 16 == 0) Assert.Equal(0, other.Ring.Transfer(BlockFrontRing.Read, 0, data));
            Assert.Equal(9, round < 1 ? 9 : data[0]);
        }

        // It was no use of empty words: some got as far as a connection.
        Assert.InRange(connected, 100, 4000);
        Assert.Equal(0, disk.Outside);
        machine.Pump();
        foreach (var name in s_nodes) front.RemoveFront(name);
        front.SetState(6);
        machine.Pump();
        front.SetState(1);
        Assert.True(front.Connect());
        Assert.Equal(0, front.Ring.Transfer(BlockFrontRing.Write, 0, new byte[512]));
        Assert.True(machine.Log.Count < 20, string.Join('\n', machine.Log));
    }

    [Fact]
    public void FloodsOfNodesAreLookedAtOnce()
    {
        using var machine = new PvMachine();
        machine.GuestAllowed = false;
        var (_, front) = machine.Connect(FrontPatterns.Get("linux"));
        var before = machine.Xen.Store.Changes;
        const int Flood = 20_000;
        for (var n = 0; n < Flood; n++)
        {
            front.SetState(n % 9);
            front.WriteFront(string.Create(CultureInfo.InvariantCulture, $"junk-{n % 500}"), new string('x', n % 2000));
        }

        front.SetState(4);
        machine.Pump();

        // The last state is what counts, and nothing was answered to the others.
        Assert.Equal((2 * Flood) + 1, machine.Xen.Store.Changes - before);
        Assert.Equal(4, front.BackState);
        Assert.Equal(0, front.Ring.Do(BlockFrontRing.Flush));

        // Told of each change, the answers stay in proportion.
        before = machine.Xen.Store.Changes;
        for (var n = 0; n < 2000; n++)
        {
            front.SetState(n % 2 == 0 ? 1 : 5);
            machine.Pump();
        }

        Assert.InRange(machine.Xen.Store.Changes - before, 2000, 2000 * 20);
        Assert.InRange(machine.Log.Count, 0, 2);
    }

    [Theory]
    [InlineData("")]
    [InlineData("-1")]
    [InlineData("9")]
    [InlineData("4 ")]
    [InlineData(" 4")]
    [InlineData("+4")]
    [InlineData("0x4")]
    [InlineData("99999999999999999999999999")]
    [InlineData("Connected")]
    [InlineData("\ufffd\ufffd")]
    public void StatesThatAreNoneAreNoState(string state)
    {
        using var machine = new PvMachine();
        var (_, front) = machine.Connect(FrontPatterns.Get("linux"));
        front.WriteFront("state", state);
        machine.Pump();
        Assert.Equal(6, front.BackState);
        machine.AssertLetGo();
        front.SetState(1);
        Assert.True(front.Connect());
    }

    private static void Abuse(PvMachine machine, BlockFront front, Random random)
    {
        switch (random.Next(12))
        {
            case 0:
                front.RemoveFront(s_nodes[random.Next(s_nodes.Length)]);
                break;
            case 1:
                machine.Xen.Store.Remove($"/local/domain/5/device/vbd/{Id}");
                break;
            case 2:
                front.WriteFront(s_nodes[random.Next(s_nodes.Length)], random.Next(4) switch
                {
                    0 => new string('9', random.Next(3000)),
                    1 => random.NextInt64().ToString(CultureInfo.InvariantCulture),
                    2 => "\u0001\n%s%n\u001b[31m",
                    _ => random.Next(0, 40).ToString(CultureInfo.InvariantCulture),
                });
                break;
            case 3:
            case 4:
                front.SetState(1);
                machine.Pump();
                foreach (var name in s_nodes.AsSpan(random.Next(s_nodes.Length))) front.RemoveFront(name);
                front.WriteNodes();
                front.SetState(random.Next(3, 5));
                break;
            case 5:
                // What the backend may hold is revoked under its feet, or granted again.
                var one = random.Next(8) == 0 ? front.Rings[random.Next(front.Rings.Count)] : null;
                foreach (var ring in front.Rings)
                    for (var n = 0; n < ring.Pages.Count; n++) machine.Xen.Grants.Set(ring.References[n], ring.Pages[n], ring == one && random.Next(4) == 0);
                break;
            case 6:
                foreach (var ring in front.Rings)
                {
                    ring.RequestProducer = ring.ResponseProducer + (uint)random.Next(random.Next(10) == 0 ? 1000 : 50);
                    ring.Kick();
                }

                break;
            case 7:
            case 8:
                front.SetState(1);
                break;
            default:
                front.SetState(random.Next(0, 10));
                break;
        }
    }
}
