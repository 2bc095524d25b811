using System;
using System.IO;
using XenDM.Core.State;

namespace XenDM.Testing;

/// <summary>What every chip must hold: reset is repeatable, state survives a round trip byte for byte, the schema only changes on purpose.</summary>
public static class DeviceContract
{
    /// <summary>Runs all checks on a chip.</summary>
    /// <param name="make">Makes the chip on a fresh board; called several times.</param>
    /// <param name="disturb">Puts the chip in a state that is far from reset, as a driver would.</param>
    /// <param name="schema">Name of the golden file under tests/data/schema, without ending.</param>
    public static void Check<T>(Func<(TestBoard Board, T Chip)> make, Action<TestBoard, T> disturb, string schema)
        where T : IDevice
    {
        ResetIsRepeatable(make, disturb);
        StateSurvivesRoundTrip(make, disturb);
        SchemaIsTheGoldenOne(make().Chip, schema);
    }

    private static void ResetIsRepeatable<T>(Func<(TestBoard Board, T Chip)> make, Action<TestBoard, T> disturb)
        where T : IDevice
    {
        var (board, chip) = make();
        chip.Reset(ResetKind.Cold);
        var clean = StateDumper.Dump(chip);
        disturb(board, chip);
        chip.Reset(ResetKind.Cold);
        board.Loop.RunPosted();
        var again = StateDumper.Dump(chip);
        if (clean != again) throw new InvalidOperationException($"{chip.Id}: after a second reset the state differs:\n{clean}\nnow\n{again}");
    }

    private static void StateSurvivesRoundTrip<T>(Func<(TestBoard Board, T Chip)> make, Action<TestBoard, T> disturb)
        where T : IDevice
    {
        var (board, chip) = make();
        chip.Reset(ResetKind.Cold);
        disturb(board, chip);
        board.Clock.Stop();
        var first = Save(chip);
        var (otherBoard, other) = make();
        other.Reset(ResetKind.Cold);
        otherBoard.Clock.Stop();
        StateReader.Load([other], first);
        var second = Save(other);
        if (!first.AsSpan().SequenceEqual(second)) throw new InvalidOperationException($"{chip.Id}: saved again, the state differs:\n{StateDumper.Dump(chip)}\nnow\n{StateDumper.Dump(other)}");
        if (otherBoard.Hypervisor.IsaEdges.AsSpan().IndexOfAnyExcept(0) >= 0) throw new InvalidOperationException($"{chip.Id}: the restore made an interrupt edge");
    }

    private static byte[] Save(IDevice device)
    {
        using var stream = new MemoryStream();
        StateWriter.Save([device], stream);
        return stream.ToArray();
    }

    private static void SchemaIsTheGoldenOne(IDevice chip, string name)
    {
        var path = Path.Combine(DataFolder(), "schema", name + ".txt");
        var now = StateSchema.Print(chip);
        if (Environment.GetEnvironmentVariable("XENDM_WRITE_SCHEMA") == "1")
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllText(path, now);
        }

        var golden = File.Exists(path) ? File.ReadAllText(path) : "(no such file)";
        if (golden != now) throw new InvalidOperationException($"{chip.Id}: the schema differs from {path}. If the change is meant, add fields with since: and a new StateVersion, and run the tests with XENDM_WRITE_SCHEMA=1.\nGolden:\n{golden}\nNow:\n{now}");
    }

    /// <summary>The folder tests/data of the checkout.</summary>
    public static string DataFolder()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, "XenDM.sln"))) return Path.Combine(folder.FullName, "tests", "data");
        throw new DirectoryNotFoundException("XenDM.sln is in no folder above the tests");
    }
}
