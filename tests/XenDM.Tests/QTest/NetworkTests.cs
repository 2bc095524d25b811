using System;
using System.IO;

namespace XenDM.Tests.QTest;

/// <summary>Cables of a board as its monitors see them.</summary>
public sealed class NetworkTests : IDisposable
{
    private const ulong Registers = 0xe000_0000;
    private const int StatusRegister = 8, LinkUp = 2;
    private readonly string _folder = Directory.CreateTempSubdirectory("xendm-test").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static string Human(QTestProcess board, string line) =>
        board.Execute("human-monitor-command", $$"""{"command-line":"{{line}}"}""").GetString()!;

    private static bool IsLinkUp(QTestProcess board) => (board.Read(Registers + StatusRegister, 4)[0] & LinkUp) != 0;

    [Fact]
    public void TheGuestSeesItsCablePulledOut()
    {
        using var board = new QTestProcess("-machine", "pc", "-nodefaults", "-device", "e1000,id=nic0,netdev=net0,romfile=", "-netdev", $"stream,id=net0,server=on,addr.type=unix,addr.path={_folder}/wire");
        Assert.Equal(0x100e_8086u, board.Config('l', 2, 0, 0));
        board.SetConfig('l', 2, 0, 0x10, (uint)Registers);
        board.SetConfig('w', 2, 0, 4, 7);
        Assert.True(IsLinkUp(board));
        Assert.Contains("type=nic,model=e1000,macaddr=52:54:00:12:34:56", Human(board, "info network"), StringComparison.Ordinal);
        board.Execute("set_link", """{"name":"nic0","up":false}""");
        Assert.False(IsLinkUp(board));
        Assert.Contains("link=down", Human(board, "info network"), StringComparison.Ordinal);
        Assert.Equal("", Human(board, "set_link net0 on"));
        Assert.True(IsLinkUp(board));
        board.Execute("netdev_del", """{"id":"net0"}""");
        Assert.False(IsLinkUp(board));
        Assert.Contains("not found", Human(board, "set_link net0 on"), StringComparison.Ordinal);
        Assert.Equal(0, board.Terminate());
    }

    [Fact]
    public void BackendsComeAndGo()
    {
        using var board = new QTestProcess("-machine", "pc", "-nodefaults");
        var add = $$$"""{"type":"stream","id":"a","server":true,"addr":{"type":"unix","path":"{{{_folder}}}/a"}}""";
        board.Execute("netdev_add", add);
        Assert.Contains($"listen=unix:{_folder}/a", Human(board, "info network"), StringComparison.Ordinal);
        Assert.True(File.Exists($"{_folder}/a"));
        Assert.Contains("a: there is one", Assert.Throws<InvalidOperationException>(() => board.Execute("netdev_add", add)).Message, StringComparison.Ordinal);
        board.Execute("netdev_del", """{"id":"a"}""");
        Assert.False(File.Exists($"{_folder}/a"));
        Assert.Equal("", Human(board, "info network"));
        Assert.Equal(0, board.Terminate());
    }
}
